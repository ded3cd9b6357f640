"""Tokens for uploads in several steps: Google's clients send a file's bytes to the address that they were told, without
any key (google-genai 3.4, googleapis/java-genai#817). The token in the address says whose upload it is, and where it
goes on; it is good for a while, and for nothing else."""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import attrs
import msgspec

GOOD_FOR: Final = 24 * 3600
"""Seconds: uploads of gigabytes take hours."""

SecretsOf: TypeAlias = Callable[[str], Iterable[bytes]]

_LONGEST: Final = 8192
_SIGNATURE: Final = 32


@attrs.frozen
class UploadToken:
    """An upload of ``owner`` (``client`` is its name, if it has one), which goes on at ``path`` of the account whose
    first entry is called ``entry``, until ``until`` (Unix seconds)."""

    owner: str
    client: str | None
    entry: str
    path: str
    until: int


def written(token: UploadToken, secret: bytes) -> str:
    data = msgspec.json.encode(attrs.astuple(token))
    return base64.urlsafe_b64encode(_signature(secret, data) + data).decode("ascii").rstrip("=")


def read(text: str, secrets_of: SecretsOf, now: float) -> UploadToken | None:
    """The token in ``text``, if it was made here and is still good. ``secrets_of`` gives those of an entry."""
    if len(text) > _LONGEST:
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = UploadToken(*msgspec.json.decode(data[_SIGNATURE:], type=tuple[str, str | None, str, str, int]))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None
    made = (_signature(secret, data[_SIGNATURE:]) for secret in secrets_of(token.entry))
    good = any(hmac.compare_digest(one, data[:_SIGNATURE]) for one in made)
    return token if good and now < token.until else None


def _signature(secret: bytes, data: bytes) -> bytes:
    return hmac.digest(secret, b"trigate upload" + data, "sha256")
