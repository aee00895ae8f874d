"""The import methods that ship with glance_flows; they come in through the same entry points as anybody's."""
