"""Tokens of people for the MCP servers behind the gateway: the issuer exchanges a person's own token (RFC 8693).

Clients find the sign-in in the metadata of the server (RFC 9728), which ``gateway.features.people`` serves.

- ``feature``: the row, with the key ``token_exchange`` of a server; its ``checks``
- ``exchange``: one exchange at the issuer
- ``tokens``: the tokens of one server, each for the person's token that it came from; ``opening`` opens both"""
