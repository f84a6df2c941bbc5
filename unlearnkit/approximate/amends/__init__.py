"""Amends: what follows a direct modification of the parameters."""
