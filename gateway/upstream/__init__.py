"""The side towards providers: a pool of HTTP/1.1 connections, and what a request and its response are on them.

``client`` sends a ``request`` and returns its ``response``, on a connection of the ``pool`` when it has one of the
``slots``. ``address`` parses the URL; ``proxies`` decide whether the route leads straight there or through a proxy.
``network`` has the sockets and the certificates; ``http11`` is the protocol, with its ``heads`` and ``framing``.
``decoding`` reads bodies that are compressed unasked; ``errors`` lists what goes wrong; ``websocket`` is an upgraded
connection.
"""
