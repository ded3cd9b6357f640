"""The numbers for Prometheus: ``metrics``, listed in ``rows``.

``feature``: its row and key; ``opening`` opens it with its path, and collects figures that exchanges do not report.

``registry`` has them in the client library, ``shared_metrics`` adds up those of several workers."""
