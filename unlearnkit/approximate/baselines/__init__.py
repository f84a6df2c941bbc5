"""Approximate methods from the literature, for comparison."""
