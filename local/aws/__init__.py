"""Runs a SAM template on this machine: its resources in moto, its functions in separate processes."""
