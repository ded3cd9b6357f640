"""MCP servers behind the gateway: ``messages`` passes messages to them, ``routes`` has their path,
``feature`` their keys, ``json_rpc`` errors. ``interface`` has the names for other features."""
