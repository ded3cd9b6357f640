"""The stand-in provider of ``trigate serve --demo`` and ``trigate mock``, which speaks all APIs without a model.

- ``server``: the ASGI app; ``script``: the responses; ``words``: their texts; ``tools``: the tool calls.
- ``schemas``, ``filling``: JSON Schemas, and values that match them.
- ``prompt_cache``: counts of prompt caches; ``cache_rules``: each provider's rules, and the models' names;
  ``cache_prompts``: prompts as a cache reads them; ``cache_reports``: the counts in usage and at ``/cache``.
- ``faults``: faulty responses; ``failures``: faults by reason, for testing routes, with a model for each.
- ``endpoints``: paths other than conversations; ``called`` reads their requests, ``endpoint_answers`` makes
  responses, with ``media``; ``kept``: stored objects, with ``vector_stores``; ``realtime``: sessions."""
