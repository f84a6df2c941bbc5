"""Compares unlearned models with retrained ones, and with the models before unlearning."""
