"""Interoperability: everything here runs against a real Glance API, in its own process."""
