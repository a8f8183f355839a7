"""A client of the Celonis Platform API with the calls that a refresh needs. Imports nothing of AWS.

addresses   ids, and the page addresses that users copy instead of them
connection  a team and its credentials, read from a secret
auth        the headers that authenticate a request; OAuth tokens
transport   one request, one answer, within a time limit
failures    errors for answers that are not a success
records     jobs, executions, loads and tables, parsed from JSON
client      the calls as methods
"""
