"""Studies over many requests, streams of requests, and populations of models."""
