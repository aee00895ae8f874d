"""The tests of the drop box."""
