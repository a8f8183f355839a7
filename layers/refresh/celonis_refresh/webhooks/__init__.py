"""Webhooks: verification of requests, and the pipelines that their events start.

Pure functions of raw bytes, headers, query and a clock; nothing here depends on Celonis, AWS or an HTTP
server. The order of calls for one request (``receive`` in ``workflow.webhook``):

1. ``events.preflight``: the only response before verification
2. ``verification.verify``: the signature or token, over the bytes that arrived
3. ``events.read_events``: parses the body
4. ``events.handshake``: responses to requests that set up a subscription
5. ``rules.apply_rules``: which pipelines the events start
"""
