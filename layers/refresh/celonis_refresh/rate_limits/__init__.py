"""One request budget for each connection, shared by all runs."""
