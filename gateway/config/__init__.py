"""The configuration: classes that declare its keys, and what follows from a file as a whole.

``settings`` has the root. ``listening``, ``limits``, ``attempts``, ``model_entry``, ``endpoints``, ``sign_ins``,
``price_table``, ``own_providers``, ``aliases``, ``clients``, ``allowances``, ``cached_answers``, ``counters``,
``state_storage`` and ``collector`` declare the keys of their topics, each once: name, type, default and meaning. Their
values are of ``kinds``, ``amounts`` and ``zones``.

``loading`` reads a file by way of ``configfile``, then adds what the parts decide together: ``entries``, ``routes``,
``client_keys`` with ``client_access`` (by ``patterns``), ``ratelimits``, ``budgets`` and ``caching``. Mistakes and
warnings are collected in ``findings``. ``doubtful_routes``, ``prices`` (with ``entry_price``),
``weak_secrets`` and ``found_file`` check what a whole file means; ``unknown`` advises on keys that do not exist and
``foreign`` on files of other gateways.

``names`` finds an entry by a model's name, ``urls`` and ``redaction`` keep credentials out of texts, ``changes`` lists
what another file would change, in the words of ``spelling``. ``stored_keys`` are clients that the state storage has."""
