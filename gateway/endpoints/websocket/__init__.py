"""Responses over a WebSocket.

- ``handshake``: its admission; ``connection`` serves one.
- ``lanes``: frames with different ids; ``envelopes``: the contents of frames; ``prewarm``: requests sent ahead."""
