"""Training of an ensemble: specs, partitions, plans, kernels and the clock."""
