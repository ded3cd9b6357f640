"""Signers of requests to providers, without I/O.

``signer`` has the protocol, its credentials, and signers that send these unchanged; ``sigv4`` computes AWS signatures.
A provider's row chooses its signer. Tokens that must be fetched come from a ``CredentialSource``
(``gateway/upstream/request.py``).
"""
