"""``make faults``: everything that can go wrong, against the real template on the local stack.

A case breaks one thing, starts a run, and checks what really happened: at the execution, at the
record, at what the Celonis simulator really started, at leases and slots. What must hold for every run is
checked for every run (``invariants``); at the end, nothing that was written may contain a secret (``leaks``).
"""
