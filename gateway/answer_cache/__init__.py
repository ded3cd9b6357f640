"""The response cache: complete responses that identical requests receive again, if the configuration allows it.

- ``key``: which requests are identical; ``eligible``: which may use the cache, and which responses are stored.
- ``uses``: whose requests use the cache, and what their ``cache-control`` header requests.
- ``store``: the protocol of stores; ``memory``, ``sqlite``, ``redis``, and ``encrypted`` over them; ``opening``
  chooses one.
- ``stored_answer``: the stored form; ``replay`` sends it again.
- ``flight``: a response in progress that several requests follow; ``cache`` finds stored ones and those in progress."""
