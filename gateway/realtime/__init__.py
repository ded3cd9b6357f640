"""Realtime sessions: websockets that are passed on between a client and a provider, read for what they use.

``routes`` are the paths, ``serving`` is behind them, ``opening`` is what they have in common. ``models`` says where a
session goes, ``dialing`` requests a websocket there, and a ``session`` passes messages on in both directions, metered
by a ``meter``. ``calls`` are sessions whose sound goes past the gateway.

Pure are ``subprotocols`` and ``closing``, for what differs between the two sides, and the ``shapes`` of the APIs:
``notices`` are found in frames, by ``events`` in OpenAI's API and by ``gemini_live`` in Gemini's, in their JSON
``objects``.
"""
