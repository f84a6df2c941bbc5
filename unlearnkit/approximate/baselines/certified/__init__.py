"""Methods with a proof of how far they are from retraining."""
