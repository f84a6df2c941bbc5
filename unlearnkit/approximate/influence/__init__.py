"""Staged influence, the default method of approximate unlearning."""
