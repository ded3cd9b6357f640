"""Memory shared by the workers of a machine, and by the clients of a process.

- ``layout``: the positions in it; ``memory``: the memory with its locks and workers' seats.
- ``rows``: byte values with atomic updates in one process, ``shared_rows`` in several.
- ``amounts``: totals, and amounts that each worker holds.
- ``owned_entries``: a bounded mapping in one process in which no client takes the room of others.
- ``notes``: the protocol of notes, by which gateways share outages and pins.
- ``tables``: everything that a worker uses of these."""
