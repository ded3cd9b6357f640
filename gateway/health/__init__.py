"""The state of the places that requests go to: ``health`` of all of them, for all requests of the process.

A ``circuit`` says of one place whether it is unavailable, until when and why; ``states`` keeps the circuits, and
``transitions`` logs their changes. ``probes`` query the health of an operator's own servers. ``retry_budget`` bounds
what is added to the requests of clients.
"""
