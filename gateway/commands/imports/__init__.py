"""``trigate import``: converts the configuration of a LiteLLM proxy.

- ``command``: the command. ``result`` has the new file and its summary, ``losses`` the settings without a counterpart.
- ``litellm``: a LiteLLM proxy's file. ``litellm_tables`` has its providers and settings; ``litellm_models``,
  ``litellm_places`` (providers, addresses and credentials), ``litellm_prices``, ``litellm_routes``,
  ``litellm_members``, ``litellm_guards`` with ``litellm_filter`` and ``guard_drafts``, and
  ``litellm_keys`` with ``litellm_budgets`` and ``litellm_rows`` convert the parts; ``litellm_environment`` has what
  LiteLLM reads from variables.
- ``litellm_database`` reads the keys from PostgreSQL, ``litellm_columns`` lists what it does not convert, and
  ``litellm_usage`` reads the forms of requests in the log.
- ``imported_secrets``: credentials, which become variables in the new file. ``imported_values``: texts and numbers.
"""
