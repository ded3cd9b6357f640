"""Signers of requests to providers, without I/O.

``signer`` is the protocol and ``credential`` its input; ``keys`` sends credentials unchanged, ``sigv4`` computes AWS
signatures. A provider's row chooses its signer. Tokens that must be fetched come from a ``CredentialSource``
(``gateway/upstream/request.py``).
"""
