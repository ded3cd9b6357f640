"""Applies the key ``request`` of a configuration to requests; imported only for a configuration with that key.

``feature``: its row; ``opening`` opens it. ``edits``: the members of a configuration by alias,
client and entry, and those of one request. ``checks`` of the configuration. ``explaining``: for ``trigate explain``."""
