"""The side towards providers: a pool of HTTP/1.1 connections, and what a request and its answer are on them.

``client`` sends a ``request`` and gives its ``response``, on a connection of the ``pool`` when it has one of the
``slots``. Where to is an ``address``, which way a ``route``: straight, or through one of the ``proxies``.
``connecting`` goes that way, with ``network`` for the sockets and ``roots`` for the certificates; ``http11`` is the
protocol, with its ``heads`` and ``framing``. ``decoding`` reads what is compressed unasked; ``errors`` has what goes
wrong; ``websocket`` is what a connection becomes that was upgraded. ``credentials`` are what requests are signed with,
which may have to be fetched first.
"""
