"""People: clients whose tokens come from identity providers, clusters and CI services. Imported only for a
configuration with ``issuers``, or with another key that needs a part of it.

- ``values.py``: a person and a caller, as frozen values
- ``gate.py``: identifies people by their tokens, for one configuration
- ``rules.py``: which claims admit a person, and with which rights
- ``directory.py``: the people that the process knows, and tables by client name that include them
- ``token_format.py``: reads a signed token (JWT) strictly, without its signature
- ``signing_keys.py``: the public keys of an issuer, parsed from its key set
- ``tokens.py``: decides whether a token is valid, and remembers that
- ``discovery.py``: the endpoints of an issuer, and which of them the gateway requests
- ``issuer_http.py``: requests to issuers, for keys and for sign-in
- ``key_sets.py``: fetches the keys of each issuer in the background
- ``introspection.py``: tokens that only their issuer can judge
- ``issuers.py``: all of these for the issuers of a process
- ``store.py``: sessions, device grants, own keys, blocks, raises and the audit in a database. ``tables.py`` has
  the tables, ``records.py`` their records, ``rows.py``, ``session_rows.py``, ``rights_rows.py`` and ``sweeping.py``
  the statements
- ``followed.py``: blocks, ended sessions, raises and own keys in memory, followed in the database
- ``session_tokens.py``: the tokens of sessions; ``seals.py`` derives their keys, and encrypts issuers' refresh tokens
- ``sessions.py``: opens, refreshes and ends sessions; ``confirming.py`` asks their issuers whether people still have
  access; ``own_keys.py`` makes keys for people, ``seen.py`` and ``keeping.py`` store the people that the gateway has
  seen
"""
