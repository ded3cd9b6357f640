"""Converts a provider's bytes to the client's bytes without I/O.

- ``passthrough`` and ``translation``: the two lanes
- ``lane``: their common interface
- ``progress``: the state of a stream
- ``doubt``: complete responses that may be failures
- ``reframed``: streams in another framing than their API's own"""
