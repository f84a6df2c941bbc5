"""Partitions: the shard and slice of every training example."""

from unlearnkit.training.partition.partition import Partition, balanced_sizes, make_partition

__all__ = ["Partition", "balanced_sizes", "make_partition"]
