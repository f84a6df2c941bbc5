"""Choosing examples: queries, the example map and example scores."""
