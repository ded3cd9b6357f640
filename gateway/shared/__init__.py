"""Memory shared by the workers of a machine.

- ``layout``: the positions in it; ``memory``: the memory with its locks and workers' seats.
- ``rows``: byte values with atomic updates in one process, ``shared_rows`` in several.
- ``amounts``: totals, and amounts that each worker holds.
- ``tables``: everything that a worker uses of these."""
