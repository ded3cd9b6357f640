"""Realtime sessions: websockets that are passed on between a client and a provider, read for what they use.

``subprotocols`` and ``closing`` are what differs between the two sides of one. ``notices`` are what a ``FrameReader``
finds in frames: ``events`` for OpenAI's API, ``gemini_live`` for Gemini's, both by the JSON ``objects`` in them.
"""
