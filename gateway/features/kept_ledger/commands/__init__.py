"""The commands over the ledger.

- ``costs``, ``reconcile``: commands of that name.
- ``cache_report``: ``cache`` over the ledger, with ``cache_advice``. ``adding``: ``ledger add``.
  ``amounts``: numbers and dollars in reports."""
