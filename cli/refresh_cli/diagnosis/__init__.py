"""What ``refresh doctor`` checks."""
