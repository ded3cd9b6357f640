"""MCP servers behind the gateway: ``messages`` passes messages to them, ``routes`` has their path,
``settings`` their keys. ``interface`` has the names for other features."""
