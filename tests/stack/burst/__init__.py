"""Many triggers at once, on the real template."""
