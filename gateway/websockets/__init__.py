"""Websockets of clients, for the features that serve some. Conversations need none of it: the server imports it for the
first handshake.

- ``stream``: one websocket as ASGI messages, ``over_http1`` or ``over_http2``; ``frames``: its limits
- ``app``: the Quart app of websockets, with everything of Quart ``in_quart``
- ``handshake``: the admission of a client"""
