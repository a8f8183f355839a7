"""Whole runs on the real template. A package, so that its one stack is down before other tests begin."""
