"""Approximate methods of the literature, for comparison."""
