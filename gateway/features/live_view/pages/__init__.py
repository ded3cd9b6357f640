"""The live view: ``gateway/features/live_view/live.py`` as a page in a browser.

- ``pages``: visitors, and how each model is reached.
- ``signed_in``: callers with a session at an issuer.
- ``viewings``: the audit of viewers.
- ``viewer_events``: events for viewers; ``workers``: those of other processes."""
