"""Figures of studies and of streams of requests."""
