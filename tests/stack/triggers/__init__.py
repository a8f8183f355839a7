"""Webhooks of every sender, their answers, and what may not get in, on the real template."""
