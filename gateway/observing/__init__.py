"""What an operator sees of exchanges: metrics, traces, recordings, the board of the live view, the log. All of them
look on by the ledger's ``Observer`` or as a tap, and none is in the way.

``metrics`` are counted in ``buckets`` and added up over workers by ``shared_metrics``; ``scraping`` serves them,
``lag`` is one of them. ``tracing`` sends ``spans`` to a ``collector``. ``recording`` writes exchanges down,
``recorded`` reads them. ``watching`` is the board: ``charts`` and sums, ``transcripts`` of streams, ``tapping`` to
listen. ``logs`` is the log: ``terminal`` for people, ``log_fields`` of the JSON lines, ``masking`` of keys."""
