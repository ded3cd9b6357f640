"""Connections to a server that note the time of every read.

``read_loop`` reads and times the sockets. ``transport`` carries bytes, plain or with TLS. ``connection`` speaks
HTTP/1.1, ``answers`` has the types of requests and answers, ``connections`` manages the connections to a server, and
``address`` resolves its name.
"""
