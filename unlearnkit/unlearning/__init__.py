"""Estimating, deciding and carrying out requests to forget examples."""
