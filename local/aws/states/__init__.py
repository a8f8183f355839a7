"""Step Functions: runs JSONata state machines, with stops, timeouts, retries and redrives.

moto stores the state machines and validates their definitions; executions run here.
"""
