"""HTTP's own words, of no room in particular: ``headers`` that cross the gateway, which of them are ``passing``,
``paths`` as clients write them, a ``response`` to a client, the life of a request and of its connection
(``request_scope``), ``sockets``, ``close_codes`` of websockets, the names in ``certificates``, and work that would
delay other streams: on large bodies (``offload``), and ``imports``.
"""
