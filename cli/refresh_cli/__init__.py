"""``refresh``: the command line tool of Celonis Refresh."""
