"""Building blocks that the panels share."""
