"""Rerank: documents put into the order in which they answer a query, in the shapes of those who serve that.

``shapes`` has them as rows, ``request`` writes a client's request for a provider, ``answer`` reads the provider's and
writes the client's.
"""
