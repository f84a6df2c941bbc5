"""Staged influence, the approximate method of this package."""
