"""The Celonis Platform API, seen from the calls that a refresh needs. Knows no AWS and nothing of pipelines.

addresses   ids, and the page addresses that people copy instead of them
connection  one team and how to sign in, read from a secret
auth        the headers that sign a request; OAuth tokens and their renewal
transport   what each call says on the wire; one request, one answer, inside a time budget
failures    what an answer that is no success means
records     jobs, executions, loads and tables, read from JSON of uncertain shape
client      the calls as methods
"""
