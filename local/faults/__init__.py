"""``make faults``: everything that can go wrong, against the real template on the local stack.

A case breaks one thing, lets a run meet it, and looks at what really happened: at the execution, at the
record, at what the Celonis simulator really started, at leases and slots. What must hold for every run is
checked for every run (``laws``); at the end nothing that was written anywhere may hold a secret (``leaks``).
"""
