"""Pass-through: any path of a provider, below the name of its entry.

- ``routes``: the paths.
- ``addresses`` finds the address of a request at the provider, ``requests`` reads a request.
- ``websockets`` serves realtime sessions on these paths."""
