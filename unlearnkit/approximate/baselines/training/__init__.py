"""Methods that train a stored model on, towards another objective or on other data."""
