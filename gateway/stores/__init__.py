"""Storage of data that outlives a request: trees of nodes, each with an owner. Stores do not interpret contents.

- ``store``: the protocol, with ``errors``; ``nodes``: properties of nodes and sizes by owner.
- ``memory``: a store in this process; ``sql``: a store in a database.
- ``database``: what all parts of a process use of a database (``sqlite``, ``postgres``), over a ``pool`` of connections
  for threads; ``schema``: its tables; ``redis``: scripts on a Redis server.
- ``record_tables``: rows of records that people change, and the log of these changes.
- ``encrypted``: a store with encrypted bodies; ``overlay``: a store that keeps writes local.
- ``planted_files``: files of other users in shared directories."""
