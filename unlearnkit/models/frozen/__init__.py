"""Frozen backbones: features are computed once for each example, and only a head is trained."""
