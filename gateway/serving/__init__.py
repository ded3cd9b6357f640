"""The HTTP server, and requests and responses as the app sees them.

The process: ``worker`` (lifespan, accept loop, drain), ``listeners`` (sockets), ``lifecycle`` (how it ends, and its
signals), ``supervisor`` (several processes), ``shared_directory`` (their files). On the wire: ``transports`` (bytes,
plain or in TLS, with the certificates of ``tls``), ``proxy_header`` (what a proxy sends ahead of them), ``connections``
(with their ``app_tasks``), ``http1`` (with its ``request_reader``) and ``http2`` (a connection each), ``http_stream``
and ``websocket_stream`` (one request, one websocket), ``heads`` and ``refusals`` (responses), ``idle`` (when a
connection times out), ``registry`` (what is open, and the limits on it), ``server_config``. In the app:
``http_app`` and its routes, ``fast_route`` (without Quart), ``quart_connections``, ``quart_requests`` and
``quart_views`` (with it). ``asgi_extensions`` connect the two. ``frame_limits`` bounds floods of HTTP/2 frames.
"""
