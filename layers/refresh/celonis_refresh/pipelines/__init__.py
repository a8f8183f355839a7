"""Pipelines: definitions, run options and how they merge, and the plan of a run. No AWS, no HTTP."""
