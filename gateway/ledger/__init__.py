"""Settles each exchange once: ``record`` while it runs, ``bill`` what it costs, ``ledger`` at its end, ``buckets``
counts by size."""
