"""Boundaries: the choice between retraining and modifying, shard by shard."""
