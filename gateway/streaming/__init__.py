"""Converts a provider's bytes to the client's bytes without I/O.

- ``passthrough`` and ``translation``: the two lanes
- ``lane``: their common interface and progress, readers of complete bodies, and another framing than an API's own
- ``released`` and ``choices_lane``: the events that a transform gives to a lane instead of a provider's bytes
- ``keep_alive``: what the client gets while the provider is silent
- ``doubt``: complete responses that may be failures"""
