"""Keys derived from ``signing_key``, and encryption with them of secrets that the store keeps."""

import hmac
from collections.abc import Sequence
from typing import Final

from gateway.stores.encrypted import BodyCipher

_REFRESH: Final = "the issuer's refresh tokens"


def derive_key(key: bytes, purpose: str) -> bytes:
    """Return 32 bytes for ``purpose`` from a random ``key``, by HKDF with SHA-256 (RFC 5869).

    Different purposes have independent keys: none reveals another, or ``key``."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, f"trigate people: {purpose}".encode() + b"\x01", "sha256")


class RefreshSeals:
    """The encryption of issuers' refresh tokens with keys derived from ``keys``: the first encrypts, all decrypt.

    Each is bound to the id of its sign-in, so rows of the table cannot be exchanged."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._cipher = BodyCipher([derive_key(key, _REFRESH) for key in keys])

    def seal(self, token: str, id: str) -> bytes:
        """Encrypt the refresh token of the sign-in ``id``."""
        return self._cipher.encrypt(token.encode(), id.encode())

    def open(self, sealed: bytes, id: str) -> str | None:
        """Return the refresh token of the sign-in ``id``, ``None`` if it was encrypted with another key."""
        found = self._cipher.decrypt(sealed, id.encode())
        return None if found is None else found.decode()
