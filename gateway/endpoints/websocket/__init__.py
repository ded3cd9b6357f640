"""Responses over a WebSocket: ``route`` has the path, ``connection`` serves one behind its ``handshake``, ``envelopes``
says what is in its frames, ``prewarm`` answers what is sent ahead, ``remembered`` bounds what all of them hold of
earlier turns."""
