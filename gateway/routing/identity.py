"""The identity of a target, independent of its name and API. Health is stored by identity."""

import hashlib
from typing import Self

import attrs

from gateway.config.model_entry import ModelEntry


@attrs.frozen(repr=False)
class Identity:
    """Identifies a target.

    ``endpoint`` is the provider's server, ``account`` a digest of the server and the credential, and ``place`` a digest
    of these and the model. Both digests have 16 bytes and stay in memory."""

    endpoint: str
    account: bytes
    place: bytes

    @classmethod
    def of(cls, entry: ModelEntry, model: str) -> Self:
        """Return the identity of ``model`` at ``entry`` with the configured credential.

        Headers count as part of the credential, because some servers read the credential or the account from them."""
        endpoint = f"{entry.provider.id} {entry.base_url or entry.provider.base_url}"
        credential = entry.key if entry.sign_in is None else attrs.astuple(entry.sign_in)
        account = repr((endpoint, entry.http_host, credential, entry.headers)).encode()
        return cls(endpoint, digest(account), digest(account, model.encode()))

    def with_credential(self, credential: str | None) -> "Identity":
        """Return the identity for a client whose own ``credential`` is forwarded."""
        own = (credential or "").encode()
        return Identity(self.endpoint, digest(self.account, own), digest(self.place, own))


def digest(*parts: bytes) -> bytes:
    """Return a 16-byte digest of ``parts``."""
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(b"%d:" % len(part))
        made.update(part)
    return made.digest()
