"""Access of clients: keys, models, shares of the gateway's capacity, and protection against web pages.

- ``admission``: which requests may begin.
- ``authentication``: client keys, certificates, and the models that each may use.
- ``shares``: how many requests and connections each client may have; ``body_memory``: memory of request bodies and
  complete responses; ``held_bytes``: bytes by client.
- ``page_guard``: protection against requests that web pages make browsers send.
- ``peers``: addresses of clients, also those that connect through proxies.
- ``refused_keys``: rejected keys, counted and logged for the audit."""
