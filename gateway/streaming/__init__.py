"""Converts a provider's bytes to the client's bytes without I/O.

- ``passthrough`` and ``translation``: the two lanes
- ``lane``: their common interface and progress, readers of complete bodies, and another framing than an API's own
- ``doubt``: complete responses that may be failures"""
