"""The boundary as one instrument, which answers to the mouse without asking the kernel."""
