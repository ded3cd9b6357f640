"""Seals: a provider's reasoning state, wrapped so that a client of another API returns it unchanged.

A seal is ``tg1.`` and base64url of a JSON array ``[provider, account, api, item]``. It is not secret and grants no
access. It identifies the item's maker, so that only the same provider account gets the item back, byte for byte.
"""

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from typing import Any, Final

import attrs
import msgspec

from streams.events import APIS, Api, ReasoningState
from streams.structure import has_more_elements
from streams.surrogates import NOT_JSON

PREFIX = "tg1."
_IN_BASE64 = "dGcxL"
"""The prefix of a seal in base64, for members that SDKs decode, such as Gemini's ``thoughtSignature``."""

MARKS = (PREFIX.encode(), _IN_BASE64.encode())
"""Byte strings that every request with a seal contains one of."""


_PUBLIC: Final = 4  # public bytes of the value derived from a key


@lru_cache(maxsize=1024)
def _derive_bytes(provider: str, key: str) -> bytes:
    """Derive bytes from a key in some 20 ms, once for each key; they are the same in every process."""
    return hashlib.scrypt(key.encode(), salt=f"trigate {provider}".encode(), n=2**13, r=8, p=1, dklen=_PUBLIC + 32)


def signing_secret(provider: str, key: str) -> bytes:
    """Return 32 secret bytes derived from ``key``.

    The public bytes of an issuer reveal nothing of them.
    """
    return _derive_bytes(provider, key)[_PUBLIC:]


LARGEST = 10_000
"""The most JSON elements of an item in a seal, because anyone can forge one. Items have a few."""


@attrs.frozen
class Issuer:
    """The maker of an answer: the provider's name in the config, and a short hash of the account's key.

    ``earlier`` is the hash in older seals, which clients may still have. ``mark`` begins its seals: a stand-in for a
    provider has another one, so that a gateway before it passes its reasoning unchanged, as a provider's.
    """

    provider: str
    _account: str = ""
    earlier: str | None = attrs.field(default=None, eq=False)
    _key: str | None = attrs.field(default=None, repr=False)
    mark: str = attrs.field(default=PREFIX, eq=False)

    @classmethod
    def of(cls, provider: str, key: str | None) -> "Issuer":
        """Return the issuer with the credential ``key``."""
        return cls(provider, earlier=hashlib.sha256(key.encode()).hexdigest()[:8], key=key) if key else cls(provider)

    @property
    def account(self) -> str:
        """The hash of the account's key.

        Clients see it, so that it is slow (20 ms for each key): a fast hash would reveal weak keys to guessing.
        """
        return self._account if self._key is None else _derive_bytes(self.provider, self._key)[:_PUBLIC].hex()

    def is_maker_of(self, seal: "Seal") -> bool:
        """Return whether this issuer made the item in ``seal``."""
        return seal.issuer.provider == self.provider and seal.issuer.account in (self.account, self.earlier)


@attrs.frozen(repr=False)
class Seal:
    issuer: Issuer
    api: Api  # the API in which ``item`` is native
    item: Any


def seal(issuer: Issuer, api: Api, item: Any) -> str:
    """Return a seal for ``signature``, ``encrypted_content`` or ``reasoning_details[].data``."""
    packed = msgspec.json.encode([issuer.provider, issuer.account, api, item])
    return issuer.mark + base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def seal_in_base64(issuer: Issuer, api: Api, item: Any) -> str:
    """Return a seal for a member of base64 bytes, which SDKs decode and encode again: the standard alphabet with
    padding."""
    return base64.b64encode(seal(issuer, api, item).encode()).decode("ascii")


MAX_SEALED: Final = 256 * 1024
"""The most characters of reasoning that a seal repeats."""


def sealed_item(state: ReasoningState, text: str) -> Any:
    """Return the item of a state, for clients that send no reasoning back.

    It includes the text if the item only names the member of the text, because Gemini CLI does not send thoughts back
    and DeepSeek rejects calls without their reasoning.
    """
    if state.api == "chat" and isinstance(state.item, dict) and "field" in state.item and 0 < len(text) <= MAX_SEALED:
        return {**state.item, "text": text}
    return state.item


def seals_text(state: ReasoningState, client_api: Api | None) -> bool:
    """Return whether a client of ``client_api`` gets a signature, a seal or an item, which fits only unchanged
    reasoning."""
    return not (client_api == state.api == "chat" and "field" in state.item)  # Chat clients get only the text


def split_seal(seal: Seal) -> tuple[Seal, str]:
    """Return ``seal``, and the reasoning text that ``sealed_item`` has included."""
    item = seal.item
    if seal.api != "chat" or not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return seal, ""
    return attrs.evolve(seal, item={name: value for name, value in item.items() if name != "text"}), item["text"]


def is_sealed(text: str) -> bool:
    """Return whether ``text`` begins like a seal of either form."""
    return text.startswith((PREFIX, _IN_BASE64))


def unseal(text: str) -> Seal | None:
    """Return the seal in ``text``, of either form, or ``None`` if it is invalid. Never raises."""
    if text.startswith(_IN_BASE64):
        text = _decode_seal(text)
    if not text.startswith(PREFIX):
        return None
    body = text[len(PREFIX) :]
    try:
        packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if has_more_elements(packed, LARGEST):
            return None
        provider, account, api, item = msgspec.json.decode(packed, type=tuple[str, str, str, Any])
    except NOT_JSON:  # base64's error is a ValueError as well
        return None
    return Seal(Issuer(provider, account), api, item) if api in _APIS else None


def _decode_seal(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if "-" in text or "_" in text else None,
                                validate=True).decode("ascii")  # fmt: skip
    except ValueError:
        return ""


_APIS = frozenset(APIS)
_HEAD = re.compile(rb'\["([^"\\]{1,100})","([0-9a-f]{0,64})","([a-z]{1,20})",')
_ENOUGH = 400  # characters of a seal that contain its head


def sealed_by(text: bytes) -> Seal | None:
    """Return the seal at the start of ``text`` without its item, or ``None``. Only its head is read."""
    if text.startswith(MARKS[1]):
        text = _decode_seal(text[:_ENOUGH].decode("ascii", "replace")).encode()
    body = text[len(PREFIX) : _ENOUGH]
    try:
        head = _HEAD.match(base64.urlsafe_b64decode(body[: len(body) // 4 * 4]))
    except binascii.Error:
        return None
    if head is None or not text.startswith(MARKS[0]) or (api := head[3].decode()) not in _APIS:
        return None
    return Seal(Issuer(head[1].decode("utf-8", "replace"), head[2].decode()), api, None)
