"""Conversion of the configurations of a LiteLLM proxy and of claude-code-router, for ``trigate import``.

- ``result`` has the new file and its summary, ``losses`` the settings without a counterpart,
  ``move_report`` all of it for readers.
- ``litellm``: a LiteLLM proxy's file. ``litellm_tables`` has its providers and settings; ``litellm_models``,
  ``litellm_places`` (providers, addresses and credentials), ``litellm_prices``, ``litellm_routes`` and
  ``litellm_members`` convert the parts.
- ``litellm_database`` reads its tables, and ``litellm_stored`` the models and settings in them. ``litellm_clients`` and
  ``litellm_keys`` convert the clients, ``litellm_columns`` lists what they lose, ``litellm_rows`` reads values.
- ``litellm_limits`` and ``litellm_budgets``: limits of keys and teams, also for the HTTP API and tables of keys.
- ``litellm_secrets`` decrypts the values in the tables, and ``litellm_sign_in`` makes a draft of ``issuers``.
- ``claude_code_router``: its ``config.json``.
- ``imported_secrets``: credentials, which become variables in the new file. ``imported_values``: texts and numbers.
"""
