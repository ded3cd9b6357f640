"""The numbers for Prometheus: ``metrics``, listed in ``rows``, served at an ``endpoint``.

``feature``: its row; ``opening`` opens it, and collects figures that exchanges do not report.

``shared_metrics`` adds up those of several workers, ``lag`` is the delay of the event loop. ``settings``: the keys."""
