"""Codecs, one for each wire API, and the catalogue of providers. Pure: no I/O, no trio.

- ``apis``: the registry of APIs; ``request_api`` detects the API of a body, ``framings`` finds events in any stream
- ``recordings`` reads recorded exchanges of users' files
"""
