"""Measurements: what imports and copies cost, held up against the work that has to be done and against Glance."""
