"""Seals: a provider's reasoning state, wrapped so that a client of another API replays it untouched.

A seal is ``tg1.`` + base64url of a JSON array ``[provider, account, api, item]``. It is not secret and is never trusted
for access: it only says who made the item, so that the same provider account gets it back byte for byte and nobody
else ever sees it as if genuine.
"""

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from typing import Any, Final

import attrs
import msgspec

from streams.events import APIS, Api
from streams.structure import has_more_elements

PREFIX = "tg1."
_IN_BASE64 = "dGcxL"
"""The beginning of a seal where the member that holds it is base64 of bytes, as Gemini's ``thoughtSignature`` is, which
SDKs decode: the seal's text in base64 once more."""

MARKS = (PREFIX.encode(), _IN_BASE64.encode())
"""What stands in a request that has a seal in it."""


_PUBLIC: Final = 4  # bytes of what is made from a key that anybody may see


@lru_cache(maxsize=1024)
def _stretched(provider: str, key: str) -> bytes:
    """Some 20 ms, once for each key. The same in every process and gateway with this key."""
    return hashlib.scrypt(key.encode(), salt=f"trigate {provider}".encode(), n=2**13, r=8, p=1, dklen=_PUBLIC + 32)


def signing_secret(provider: str, key: str) -> bytes:
    """32 bytes that nobody knows who does not know the account's ``key``; whoever sees what the issuer shows of it has
    learned nothing of them."""
    return _stretched(provider, key)[_PUBLIC:]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


LARGEST = 10_000
"""JSON elements of an item that is taken out of a seal, which whoever likes can make: items have a few."""


@attrs.frozen
class Issuer:
    """The maker of an answer: the provider's name in the config and a short hash of the account's key. ``earlier`` is
    the hash that seals had before, which clients may still carry."""

    provider: str
    _account: str = ""
    earlier: str | None = attrs.field(default=None, eq=False)
    _key: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(cls, provider: str, key: str | None) -> "Issuer":
        """Return the maker whose credential is ``key``."""
        return cls(provider, earlier=_digest(key), key=key) if key else cls(provider)

    @property
    def account(self) -> str:
        """The hash of the account's key. Clients see it, so the first use of each key takes some 20 ms: of a weak key,
        such as people give a server of their own, a fast hash could be found out by trying words."""
        return self._account if self._key is None else _stretched(self.provider, self._key)[:_PUBLIC].hex()

    def made(self, seal: "Seal") -> bool:
        """Return whether this one is the maker of what is in ``seal``."""
        return seal.issuer.provider == self.provider and seal.issuer.account in (self.account, self.earlier)


@attrs.frozen(repr=False)
class Seal:
    issuer: Issuer
    api: Api  # the API in which ``item`` is native
    item: Any


def seal(issuer: Issuer, api: Api, item: Any) -> str:
    """Return the opaque text that goes into ``signature``, ``encrypted_content`` or ``reasoning_details[].data``."""
    packed = msgspec.json.encode([issuer.provider, issuer.account, api, item])
    return PREFIX + base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def seal_in_base64(issuer: Issuer, api: Api, item: Any) -> str:
    """Return ``seal`` for a member that is base64 of bytes, which are checked and made anew on the way: standard
    alphabet, with padding."""
    return base64.b64encode(seal(issuer, api, item).encode()).decode("ascii")


def is_sealed(text: str) -> bool:
    """Return whether ``text`` is a seal of either form, by its beginning."""
    return text.startswith((PREFIX, _IN_BASE64))


def unseal(text: str) -> Seal | None:
    """Return the seal in ``text``, of either form, or ``None`` if ``text`` is not one that trigate made. Never
    raises."""
    if text.startswith(_IN_BASE64):
        text = _inner(text)
    if not text.startswith(PREFIX):
        return None
    body = text[len(PREFIX) :]
    try:
        packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if has_more_elements(packed, LARGEST):
            return None
        provider, account, api, item = msgspec.json.decode(packed, type=tuple[str, str, str, Any])
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return None
    return Seal(Issuer(provider, account), api, item) if api in _APIS else None


def _inner(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if "-" in text or "_" in text else None,
                                validate=True).decode("ascii")  # fmt: skip
    except ValueError:
        return ""


_APIS = frozenset(APIS)
_HEAD = re.compile(rb'\["([^"\\]{1,100})","([0-9a-f]{0,64})","([a-z]{1,20})",')
_ENOUGH = 400  # characters of a seal in which its head is


def sealed_by(text: bytes) -> Seal | None:
    """Return the seal that ``text`` begins with, without its item: only its head is looked at. ``None`` if it is
    none."""
    if text.startswith(MARKS[1]):
        text = _inner(text[:_ENOUGH].decode("ascii", "replace")).encode()
    body = text[len(PREFIX) : _ENOUGH]
    try:
        head = _HEAD.match(base64.urlsafe_b64decode(body[: len(body) // 4 * 4]))
    except binascii.Error:
        return None
    if head is None or not text.startswith(MARKS[0]) or (api := head[3].decode()) not in _APIS:
        return None
    return Seal(Issuer(head[1].decode("utf-8", "replace"), head[2].decode()), api, None)
