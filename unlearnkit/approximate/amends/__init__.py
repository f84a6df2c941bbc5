"""Amends: brief training after a modification of the parameters."""
