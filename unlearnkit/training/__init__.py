"""Specs, partitions, plans, kernels and the training of an ensemble."""
