"""The side towards clients, and all that is private to Quart and Hypercorn: ``scope`` (requests), ``connections``,
``frames`` and ``http2`` (the wire), ``server`` and ``sockets`` (the process), ``reload``."""
