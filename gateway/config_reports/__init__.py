"""Reports about configurations for people, which no request needs.

The reading imports some if a file needs them: ``unknown``, advice on unknown keys; ``untrusted_file``, the check of a
file that was only found; ``convertible``, which recognises the files that ``trigate import`` converts;
``readable_secrets``, the warning about secrets in a file that everyone can read.

``exposed_listeners`` need a key. ``warnings`` has all warnings of a configuration: those of its reading, and those of
``doubtful_routes``, ``doubtful_budgets``, ``doubtful_clients`` and ``weak_secrets``. ``changes`` lists the differences
between two, with values in the ``spelling`` for people."""
