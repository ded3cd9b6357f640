"""Applies the key ``request`` of a configuration to requests; imported only for a configuration with that key.

``levels`` are the members of a configuration by alias, client and entry, ``edits`` are those of one request."""
