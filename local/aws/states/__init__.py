"""Step Functions: JSONata state machines run for real, with stops, time-outs, retries and redrives.

moto keeps the state machines (and checks the grammar of their definitions); the executions are run here.
"""
