"""The command ``glance-flows``: thin, it parses, calls the library, and prints."""
