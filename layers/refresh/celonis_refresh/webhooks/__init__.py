"""Webhooks: who called, whether it is really they, and what their event starts.

Pure functions of raw bytes, headers, query and a clock that is handed in. Nothing here knows Celonis,
AWS or an HTTP server. The order for one request (``receive`` in :mod:`workflow.webhook` keeps it):

1. ``events.preflight``: the one question that is answered before anything is proven.
2. ``verification.verify``: the proof, over the bytes that arrived.
3. ``events.handshake``: what a sender asks when a subscription is made.
4. ``events.read_events``: parsing, only now.
5. ``rules.apply_rules``: which pipelines the events start.
"""
