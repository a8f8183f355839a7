"""Chaos: all functions of the service over one table, run call by call in virtual time, with faults.

A seed makes a scenario: pipelines that share jobs and models, what users and senders do, what fails when. The
functions of the service are the real ones; AWS and Celonis are fakes. What must hold is checked against what
the fakes know: what Celonis was asked to do, what was answered and notified, what the table has.
"""
