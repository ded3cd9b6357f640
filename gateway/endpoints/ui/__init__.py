"""The live view: ``gateway/telemetry/live.py`` as a page in a browser.

- ``routes``: the routes of its ``paths``; ``pages``: visitors, and how each model is reached.
- ``telling``: events for viewers; ``workers``: those of other processes."""
