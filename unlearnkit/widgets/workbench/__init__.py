"""The dashboard's frame: the steps, the strip that stays in sight, and what they say."""
