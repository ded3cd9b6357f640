"""Settles each exchange once: ``record`` while it runs, ``ledger`` at its end, ``buckets`` counts by size."""
