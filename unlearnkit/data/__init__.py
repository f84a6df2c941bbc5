"""Examples, data sets and their sources."""
