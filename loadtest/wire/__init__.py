"""Between the socket and the clock: the ``read_loop`` that times every read, the ``transport`` of bytes, plain or with
TLS, the ``answers`` that come over it with their faults, ``connection`` (HTTP/1.1), ``http2``, ``websocket``, the
``connections`` to one server, and the ``address`` of it.
"""
