"""The configuration: classes that declare its keys, and what follows from a whole file.

- ``settings``: the root, to which features add keys; ``parts``: keys of features in other items, and rows of advice;
  ``building`` is the check of these.
- ``listening``, ``limits``, ``attempts``, ``model_entry``, ``endpoints``, ``sign_ins``, ``price_table``,
  ``own_providers``, ``aliases``, ``clients``, ``allowances``, ``state_storage``:
  the keys of a topic, with name, type, default and meaning. Their values are of ``kinds`` and ``amounts``.
- ``loading`` reads a file with ``configfile``, then builds what its parts decide together: ``entries``, ``routes``,
  ``client_keys`` with ``client_access`` (by ``patterns``), ``allowance_checks``. ``unlisted``: the
  interface to clients that rules admit. ``findings`` collects errors and warnings.
- ``packages``: the warning about extras that are not installed. ``config_reports`` has advice and warnings that few
  files need.
- ``names`` finds an entry by a model's name, by the rules of ``patterns``; ``credentials`` lists those of a file."""
