"""The live view: ``gateway/features/live_view/live.py`` as a page in a browser.

- ``routes``: the routes of its ``paths``; ``pages``: visitors, and how each model is reached.
- ``visitors``: what each viewer sees; ``signed_in``: callers with a session at an issuer.
- ``viewings``: the audit of viewers.
- ``viewer_events``: events for viewers; ``workers``: those of other processes."""
