"""The side towards providers: the one place that knows httpx2 and httpcore2.

``client`` makes a request, on a connection of the ``pool`` when it has one of the ``slots``; ``network`` are sockets,
``http11`` the protocol, with its ``heads`` and ``framing``."""
