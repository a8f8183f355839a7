"""Pipelines: definitions, triggers and how they join, and the plan of a run. Pure: no AWS, no HTTP."""
