"""``make faults``: fault cases against the real template on the local stack.

A case breaks one thing, starts a run, and checks the execution, the record, what the Celonis simulator really
started, leases and slots. The invariants of all runs are checked for every run (``invariants``). At the end,
nothing that was written may contain a secret (``leaks``).
"""
