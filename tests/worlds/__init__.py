"""Worlds: possible behaviour of Celonis, other users and faults, generated and run in virtual time.

Written from the model of ``docs/ownership.md`` alone, without the rules that decide which execution is ours.
``python -m tests.worlds 100000`` runs that many; see ``world.py`` for what a world consists of.
"""
