"""Figures of a comparison with the retrained model."""
