"""Comparing an unlearned model with a retrained one."""
