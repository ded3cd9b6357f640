"""Responses over a WebSocket.

- ``route``: the path; ``handshake``: its admission; ``connection`` serves one.
- ``envelopes``: the contents of frames; ``prewarm``: requests sent ahead."""
