"""Configuration in files: reading, checking, comparing and writing it."""
