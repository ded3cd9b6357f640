"""Who a target is, whatever name or API it is asked by: what is known of its health is known of this."""

import hashlib
from typing import Self

import attrs

from gateway.config.model_entry import ModelEntry


@attrs.frozen(repr=False)
class Identity:
    """``endpoint`` is the provider's server, ``account`` a digest of it with the credential that requests have there,
    ``place`` one of both with the model. Both digests have 16 bytes, and are for memory alone."""

    endpoint: str
    account: bytes
    place: bytes

    @classmethod
    def of(cls, entry: ModelEntry, model: str) -> Self:
        """The identity of ``model`` at ``entry``, with the credential that is configured. Headers count as a part of
        it: some servers take it there, and some the account."""
        endpoint = f"{entry.provider.id} {entry.base_url or entry.provider.base_url}"
        credential = entry.key if entry.sign_in is None else attrs.astuple(entry.sign_in)
        account = repr((endpoint, entry.http_host, credential, entry.headers)).encode()
        return cls(endpoint, digest(account), digest(account, model.encode()))

    def with_credential(self, credential: str | None) -> "Identity":
        """The identity for a client whose own ``credential`` is passed on."""
        own = (credential or "").encode()
        return Identity(self.endpoint, digest(self.account, own), digest(self.place, own))


def digest(*parts: bytes) -> bytes:
    """16 bytes."""
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(b"%d:" % len(part))
        made.update(part)
    return made.digest()
