"""Codecs, one for each wire API, and the catalogue of providers. Pure: no I/O, no trio."""
