"""A client of the Celonis Platform API with the calls that a refresh needs. Imports nothing of AWS.

addresses        ids, and the page addresses that users copy instead of them
connection       a team and its credentials, read from a secret
auth             the headers that authenticate a request; OAuth tokens
transport        one request, one answer, within a time limit
error_responses  turns error responses, such as a 429, into typed errors
records          jobs, executions, loads and tables, parsed from JSON
client           the calls as methods
"""
