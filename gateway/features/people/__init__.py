"""People: clients whose tokens come from identity providers, clusters and CI services. Imported only for a
configuration with ``issuers``, or with another key that needs a part of it.

- ``settings``: the keys, with ``issuer_checks``, and ``advice`` on unknown ones;
  ``managed_settings``: Claude Code's
- ``feature``: its row; ``interface``: the names for others; ``opening``: all parts of one configuration
- ``gate``: identifies people by their tokens, for one configuration
- ``rules``: which claims admit a person, and with which rights
- ``directory``: the people that the process knows, and tables by client name that include them
- ``token_format``: reads a signed token (JWT) strictly, without its signature
- ``signing_keys``: the public keys of an issuer, parsed from its key set
- ``tokens``: decides whether a token is valid, and remembers that
- ``discovery``: the endpoints of an issuer, and which of them the gateway requests
- ``issuer_http``: requests to issuers, for keys and for sign-in
- ``key_sets``: fetches the keys of each issuer in the background
- ``issuers``: all of these for the issuers of a process
- ``store``: sessions, device grants, own keys and blocks in a database. ``records`` has a person and the tables'
  records, ``session_rows``, ``rights_rows`` and ``sweeping`` the statements, ``tables`` the scripts
- ``followed``: blocks, ended sessions and own keys in memory, followed in the database
- ``session_tokens``: the tokens of sessions and their keys, and the encryption of issuers' refresh tokens
- ``sessions``: opens, refreshes and ends sessions; ``confirming`` checks with their issuers whether people still have
  access; ``seen`` stores the people that the gateway has seen
- ``oauth``: the sign-in; ``api``: calls of the HTTP API; ``console``: the pages of people's rights, usage, keys and
  groups; ``html`` makes their pages, ``own_pages`` checks the origin of their changes
- ``commands``: ``trigate people``, ``login`` and ``me``, with ``options``
- ``claude_code``: paths that Claude Code requests after a sign-in; ``spend_forms``: its forms of budgets
"""
