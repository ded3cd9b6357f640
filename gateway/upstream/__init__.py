"""Sends requests to providers over a pool of HTTP/1.1 connections.

- ``client`` sends a ``request`` and returns its ``response``
- ``pool``: the open connections; ``slots``: the limit of concurrent requests
- ``address``: URLs; ``proxies``: direct and proxied routes
- ``network``: sockets and certificates; ``lookups``: the addresses of names
- ``http11``: the protocol, with its ``heads`` and ``framing``
- ``decoding``: compressed bodies
- ``errors``: the failures"""
