"""Realtime sessions: websockets between a client and a provider, read for their usage.

- ``routes``: the paths; ``serving``: their handlers; ``opening``: the handshake that they share.
- ``models`` selects the target, ``dialing`` opens its ``provider_websocket``, a ``session`` passes messages in both
  directions, and a ``meter`` bills them.
- ``calls``: sessions whose audio bypasses the gateway; ``live``: OpenAI's Live sessions.
- ``closing``: close codes that differ between the two sides. Pure.
- ``shapes``: the APIs; ``session_ids``: the ids of their sessions.
- ``notices``: events in frames, read by ``events`` (OpenAI) and ``gemini_live`` (Gemini) from JSON ``objects``.
  Pure.
- ``relayed``: calls, and credentials for browsers; ``interface``: names for pass-through."""
