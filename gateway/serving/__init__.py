"""The HTTP server, and requests and responses as the app sees them.

The process: ``worker`` (lifespan, drain), ``listeners`` (sockets), ``accepting`` (their loop), ``lifecycle`` and
``signals`` (how it ends), ``supervisor`` (several processes), ``shared_directory`` (their files). On the wire:
``transports`` (bytes, plain or in TLS, whose certificates ``tls`` reads), ``proxy_header`` (what comes before them),
``connections``, ``http1`` (with ``chunk_lines``), ``http2`` and ``http1_websocket`` (a connection each),
``http_stream`` and ``frames`` (one request, one websocket), ``backlog`` (what of a body nobody has taken), ``heads``
and ``refusals`` (what is answered), ``idle`` (when a connection ends by itself), ``registry`` (what is open),
``server_config``. In the app: ``current``, ``bodies``, ``fast_route`` (past Quart), ``quart_connections`` and
``quart_views`` (into it). ``asgi_extensions`` stand between the two. All requests come in by the ``door``.

What a stranger may cost: ``frame_limits`` (floods of HTTP/2 frames), ``descriptors`` (how many connections), and
``health_checks`` where nothing else is answered.
"""
