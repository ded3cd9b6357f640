"""The commands over stored clients.

- ``keys``: ``trigate keys``; ``changed_keys`` has ``set`` and ``import``, ``key_tables`` reads CSV for it.
- ``client_by_name``: stored clients by name, for other commands."""
