"""Mark submissions outside the notebook; the student's code runs in a separate process."""
