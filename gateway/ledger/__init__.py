"""Settles each exchange exactly once.

- ``record``: the facts of one exchange while it runs
- ``bill``: its usage and its cost
- ``ledger``: its settlement and its log line
- ``figures``: figures of other events, for metrics
- ``buckets``: histograms of frequent measurements"""
