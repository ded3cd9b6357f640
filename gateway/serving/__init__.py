"""The HTTP server, and the interface between requests and the app.

The process:

- ``worker``: the accept loop and the drain; ``app_lifespan``: the start and the end of the app
- ``listeners``: the options of their connections, and settings; ``lifecycle``: signals and shutdown

On the wire:

- ``transports``: bytes, plain or with TLS; ``proxy_header``: the PROXY protocol
- ``connections``: a client's connection, with its ``app_tasks``; ``registry``: all connections and their limits
- ``http1`` (with ``plain_request`` and ``request_reader``) and ``http2`` (with ``http2_streams`` and ``frame_limits``):
  one connection each
- ``http_stream``: one request; HTTP/2, with its ``hypercorn_settings``, and ``gateway.websockets`` are imported for the
  first connection
- ``heads`` and ``refusals``: responses; ``idle``: timeouts

In the app:

- ``http_app``: the app; ``route_table``: its routes; ``late_views``: handlers that are imported late;
  ``incoming_request``: the requests that they get
- ``asgi_extensions``: the types of ASGI, and extensions that connect the app with the server"""
