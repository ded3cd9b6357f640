"""The commands over the ledger.

- ``costs``, ``reconcile``: commands of that name; ``reconcile_table`` has the report of the latter.
- ``cache_report``: ``cache`` over the ledger, with ``cache_advice``. ``adding``: ``ledger add``.
  ``amounts``: numbers and dollars in reports."""
