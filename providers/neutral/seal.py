"""Seals: a provider's reasoning state, wrapped so that a client of another API replays it untouched.

A seal is ``tg1.`` + base64url of a JSON array ``[provider, account, api, item]``. It is not secret and is never trusted
for access: it only says who made the item, so that the same provider account gets it back byte for byte and nobody
else ever sees it as if genuine.
"""

import base64
import binascii
from typing import Any

import attrs
import msgspec

from streams.events import APIS, Api

PREFIX = "tg1."


@attrs.frozen
class Issuer:
    """The maker of an answer: the provider's name in the config and a short hash of the account's key."""

    provider: str
    account: str


@attrs.frozen
class Seal:
    issuer: Issuer
    api: Api  # the API in which ``item`` is native
    item: Any


def seal(issuer: Issuer, api: Api, item: Any) -> str:
    """The opaque text that goes into ``signature``, ``encrypted_content`` or ``reasoning_details[].data``."""
    packed = msgspec.json.encode([issuer.provider, issuer.account, api, item])
    return PREFIX + base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def unseal(text: str) -> Seal | None:
    """The seal in ``text``, or ``None`` if ``text`` is not one that trigate made. Never raises."""
    if not text.startswith(PREFIX):
        return None
    body = text[len(PREFIX) :]
    try:
        packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        provider, account, api, item = msgspec.json.decode(packed, type=tuple[str, str, str, Any])
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return None
    return Seal(Issuer(provider, account), api, item) if api in APIS else None
