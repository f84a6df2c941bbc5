"""Certificates: what a session states of what it has forgotten."""
