"""Connections to a server that note the time of every read.

``read_loop`` reads and times the sockets. ``transport`` carries bytes, plain or with TLS. ``connection`` (HTTP/1.1),
``http2`` and ``websocket`` are the protocols, ``answers`` has their common types, ``connections`` manages the
connections to a server, and ``address`` resolves its name.
"""
