"""Signing of requests to providers, pure: ``signer`` is the protocol, ``credential`` what it signs with; ``keys`` are
credentials that go out as they are, ``sigv4`` computes AWS' signatures, ``google`` sends tokens with their project.

A provider's row says which signer it wants. Tokens that have to be fetched first come from a ``CredentialSource``
(``gateway/upstream/credentials.py``).
"""
