"""Functions that die at any of their calls, on the real template."""
