"""Reports about configurations for people, which no request needs.

``exposed_listeners`` need a key. ``warnings`` has all warnings of a configuration: those of its reading, and those of
``doubtful_routes``, ``doubtful_budgets``, ``doubtful_clients`` and ``weak_secrets``. ``changes`` lists the differences
between two, with values in the ``spelling`` for people."""
