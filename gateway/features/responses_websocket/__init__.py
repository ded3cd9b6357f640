"""Responses over a websocket.

- ``feature`` and ``routes``: its row and its path; ``connection`` serves a websocket.
- ``lanes``: frames with different ids; ``envelopes``: the contents of frames; ``prewarm``: requests sent ahead."""
