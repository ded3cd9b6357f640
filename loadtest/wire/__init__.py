"""Connections to a server that note the time of every read.

``read_loop`` reads and times the sockets. ``connecting`` opens them, plain or with TLS. ``connection`` speaks HTTP/1.1
on them, and keeps those of one server.
"""
