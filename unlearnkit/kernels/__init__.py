"""Training kernels: the inner loop over batches, one file per way of running it."""
