"""The configuration: classes that declare its keys. ``gateway.config_files`` reads files into them.

- ``settings``: the root, to which features add keys; ``parts``: keys of features in other items, and rows of advice.
- ``listening``, ``limits``, ``attempts``, ``model_entry``, ``endpoints``, ``sign_ins``, ``price_table``,
  ``own_providers``, ``aliases``, ``clients``, ``allowances``, ``state_storage``:
  the keys of a topic, with name, type, default and meaning. Their values are of ``kinds`` and ``amounts``.
- ``unlisted``: the interface to clients that rules admit. ``findings`` collects errors and warnings.
- ``names`` finds an entry by a model's name, by the rules of ``patterns``; ``credentials`` lists those of a file."""
