"""Conversion of the configurations of a LiteLLM proxy and of claude-code-router, for ``trigate import``.

- ``result`` has the new file and its summary, ``losses`` the settings without a counterpart,
  ``move_report`` all of it for readers.
- ``litellm``: a LiteLLM proxy's file. ``litellm_tables`` has its providers and settings; ``litellm_models``,
  ``litellm_places`` (providers, addresses and credentials), ``litellm_prices``, ``litellm_routes``,
  ``litellm_members``, and ``litellm_keys`` with ``litellm_budgets`` and ``litellm_rows`` convert the parts.
- ``litellm_limits``: limits of keys and teams, also for the HTTP API and tables of keys.
- ``litellm_database`` reads the keys from PostgreSQL, and ``litellm_columns`` lists what it does not convert.
- ``claude_code_router``: its ``config.json``.
- ``litellm_secrets`` decrypts the values in it, and ``litellm_sign_in`` makes a draft of ``issuers``.
- ``imported_secrets``: credentials, which become variables in the new file. ``imported_values``: texts and numbers.
"""
