"""HTTP's own words, of no room in particular: ``headers`` that cross the gateway and which of them are ``passing``,
``paths`` as clients write them and keys in a query (``query_key``), an answer (``response``) and the life of a request
(``request_scope``), ``sockets``, ``close_codes`` of websockets, whose a connection is (``connection_place``) and what
``certificates`` name, and work on large bodies (``offload``).
"""
