"""The HTTP server, and the app's side of a request.

On the wire: ``worker`` (the accept loop), ``connections``, ``http1``, ``http2`` and ``http1_websocket`` (one connection
each), ``http_stream`` and ``frames`` (one request, one websocket), ``heads`` and ``refusals`` (what is answered),
``idle`` (when a connection ends by itself), ``registry`` (what is open), ``server_config``. ``asgi_extensions`` stand
between them and ``scope`` (requests). ``server`` is the process, with ``garbage``.
"""
