"""Members of requests that an operator sets.

- ``names``: their names in a configuration, and their paths in each API; ``level`` are those of an entry, alias, group
  or key.
- ``editing`` applies a level to a request, by ``raw_paths``, which keep all other bytes; ``refused`` removes what the
  model refuses, and finds the request within a count of tokens.
- ``instructions`` adds the operator's instructions; ``cache_marks`` adds marks for prompt caches.
"""
