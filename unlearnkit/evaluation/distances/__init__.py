"""Distances from the retrained model that are computed on request."""
