"""The configuration: ``loading`` reads a file by way of ``configfile``, ``schema`` (which keys there are), ``kinds``
(of values, ``urls`` among them) and ``converter``, into ``settings`` (what the rest of the gateway reads).

A module builds each part: ``listening``, ``timeouts``, ``attempts``, ``own_providers``, ``entries`` and their
``endpoints``, ``sign_ins``, ``routes`` (with ``preferences``, as Plano has them, and ``embedders``, whose vectors have
to fit together), ``client_keys`` (with ``client_access``: models and entries, by ``patterns``),
``state_storage``, ``counters``, ``caching``, ``ratelimits``, ``budgets`` (of ``amounts``, by the clocks of ``zones``),
``prices`` (which also finds the models without one under a budget;
``entry_price`` looks one up); what they find wrong or odd goes into ``findings``.
``allowances`` are the values of limits, ``cached_answers`` those of the cache. ``unknown`` has what is said of keys
that people try and that are none,
``foreign`` the files of other gateways, ``found_file`` what one may not have that nobody has named. ``weak_secrets``
warns of keys that others may guess or read, ``doubtful_routes`` of routes that do less than they seem to.
``reference`` says what each key means, ``changes`` what another file would change, in the ``spelling`` that people
are shown.

``names`` finds an entry by a model's name, ``redaction`` the credentials of a configuration in texts; ``collector`` are
settings of the traces' receiver. ``stored_keys`` are clients that the state storage has beside those of the file."""
