"""``/me`` and ``/admin/v1``: keys, people, raises, usage and audit over HTTP, and LiteLLM's key endpoints.

- ``paths``: the paths, which import the rest with their first request. ``table``: path × verb × role.
- ``serving``: a request from its caller to its response, the rates of calls, and advice on LiteLLM's paths.
  ``callers``: who calls. ``parts``: calls of other features.
- ``calls``: what handlers read and return. ``bodies`` reads JSON, ``pages`` queries; ``levels``: the levels of limits;
  ``errors``.
- ``stored_clients``: the clients of the storage under a configuration;
  ``key_changes``: the checks of changes of them, ``client_rows``: clients for readers. ``key_store``: their table.
  ``commands``: ``trigate keys``, with ``options``.
- ``feature``: its row and the key ``stored_keys``; ``interface``: the names for others; ``opening``: the tables of each
  configuration.
  ``storage`` opens them; ``followed_keys`` follows the stored clients.
- ``store``: the tables of raises and the audit. ``sweeping`` deletes their old rows. ``followed_rights`` follows
  raises, and finds the present amounts of budgets.
- The handlers: ``own``, ``groups``, ``usage``, ``audit_list``; ``keys`` with ``key_items`` and ``key_storage``;
  ``raises``; ``litellm``."""
