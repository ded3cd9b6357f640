"""Each exchange settled once, one log line: ``ledger`` writes it of the ``record``, ``bill`` is what it costs,
``buckets`` count its gaps."""
