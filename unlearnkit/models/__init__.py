"""Architectures, built-in models, losses and parameter vectors."""
