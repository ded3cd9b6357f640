"""The ledger in the state storage, for reports and budgets after a restart.

- ``line``: what an exchange leaves there; ``table``: the lines in a database and their sums; ``columns``: its
  columns; ``statements``: the SQL that selects sums.
- ``folding`` replaces lines beyond the size limit by sums.
- ``keeping`` writes a process's lines in batches, and sums them while the database is unavailable.
  ``seeds`` raises budgets to the sums of their lines; ``opening`` opens all this, ``feature`` is its row.
- ``usage`` answers the one query that the command, the HTTP API and pages share; ``usage_formats`` writes it as
  CSV and JSON, ``admin_usage`` for the HTTP API.
- ``logged`` reads lines from the log.
- ``commands``: ``trigate costs``, ``cache``, ``reconcile`` and ``ledger``, whose options are in ``options``.
- ``prompt_cache_usage`` reports what broke providers' prompt caches."""
