"""Converts a provider's bytes to the client's bytes without I/O.

- ``passthrough`` and ``translation``: the two lanes
- ``lane``: their common interface and progress, readers of complete bodies, and another framing than an API's own
- ``keep_alive``: what the client gets while the provider is silent
- ``doubt``: complete responses that may be failures"""
