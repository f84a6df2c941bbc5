"""Metrics, tasks and membership attacks."""
