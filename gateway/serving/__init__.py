"""The side towards clients, and all that is private to Quart and Hypercorn: ``scope`` (requests), ``connections``,
``http1``, ``http2`` and ``frames`` (the wire, with ``heads`` and ``refusals``; ``install`` puts them in the place of
Hypercorn's), ``idle`` (how long they may be), ``server`` (the process), ``garbage``."""
