"""Marking outside the notebook: the student's code answers from a process of its own."""
