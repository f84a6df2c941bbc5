"""What a notebook keeps of a panel: the widget, and a picture of its state beside it."""
