"""Ids of stored objects that contain the provider account and the owner, so that no table is needed.

A client's id is the provider's with a tag after the prefix: ``file-abc`` becomes ``file-T…abc``. The tag identifies the
account, and signs it together with the owner and the native id. Ids of other clients, changed ids and native ids are
therefore all unknown (BerriAI/litellm#35530, majiayu000/litellm-rs#1130). Ids work in every worker and after a restart.

The tag in base64url without padding: one byte for the form (the first character is always ``T``), four for the
provider, four for the entry's name, twelve of an HMAC-SHA256."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import attrs
import msgspec

PREFIXES: Final = (
    "assistant-", "batch_", "batches/", "cfile_", "cntr_", "container_", "file-", "file_", "files/", "msgbatch_",
    "part_", "rtc_", "upload_", "video_", "vs_", "vsfb_",
)  # fmt: skip
"""Prefixes of providers' ids, by which clients recognise kinds; other ids get their tag at the front."""

_PLAIN: Final = 0x4C  # a form: the rest after the tag is unchanged
_ENCODED: Final = 0x4D  # a form: the rest is in base64url
_SHORT: Final = 4
_SIGNATURE: Final = 12
_TAG: Final = 28  # characters
_LONGEST: Final = 512  # characters of an id
_WORD: Final = re.compile(r"[A-Za-z0-9_-]*")


def short_digest(*words: str) -> bytes:
    """Return a short digest that identifies an account within a configuration."""
    return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).digest()[:_SHORT]


@attrs.frozen(repr=False)
class AccountMark:
    """The account in an id: short digests of the provider and the entry's name, which decides between several
    accounts."""

    provider: bytes
    entry: bytes


@attrs.frozen(eq=False)
class TaggedId:
    """A client's id in parts, not yet verified."""

    text: str
    mark: AccountMark
    native: str
    signature: bytes = attrs.field(repr=False)
    form: int

    def is_signed(self, owner: str, secrets: Iterable[bytes]) -> bool:
        """Return whether the gateway made the id for ``owner`` with one of ``secrets``."""
        made = (_signature(secret, self.form, self.mark, owner, self.native) for secret in secrets)
        return any(hmac.compare_digest(one, self.signature) for one in made)


def tagged_id(native: str, owner: str, mark: AccountMark, secret: bytes) -> str:
    """Return the id that ``owner`` gets for the ``native`` id at the account with ``mark``."""
    prefix = _prefix(native)
    rest = native[len(prefix) :]
    form = _PLAIN if _WORD.fullmatch(rest) else _ENCODED
    signature = _signature(secret, form, mark, owner, native)
    if form == _ENCODED:
        rest = _encode(rest.encode("utf-8", "surrogatepass"))
    return prefix + _encode(bytes((form,)) + mark.provider + mark.entry + signature) + rest


def read_tag(text: str) -> TaggedId | None:
    """Return the parts of ``text`` if it has the form of a tagged id, else ``None``. Never raises."""
    if len(text) > _LONGEST or not text.isascii():
        return None
    prefix = _prefix(text)
    tag, rest = text[len(prefix) : len(prefix) + _TAG], text[len(prefix) + _TAG :]
    data = _decode(tag) if len(tag) == _TAG else b""
    if not data or data[0] not in (_PLAIN, _ENCODED) or not _WORD.fullmatch(rest):
        return None
    try:
        native = prefix + (rest if data[0] == _PLAIN else _decode(rest).decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return None
    provider, entry = data[1 : 1 + _SHORT], data[1 + _SHORT : 1 + 2 * _SHORT]
    found = TaggedId(text, AccountMark(provider, entry), native, data[-_SIGNATURE:], data[0])
    return found if _is_canonical(found, prefix, rest, tag) else None


def _is_canonical(found: TaggedId, prefix: str, rest: str, tag: str) -> bool:
    """Return whether the id has its only valid spelling: base64 has unused bits."""
    coded = found.native[len(prefix) :].encode("utf-8", "surrogatepass")
    data = bytes((found.form,)) + found.mark.provider + found.mark.entry + found.signature
    return tag == _encode(data) and (found.form == _PLAIN or rest == _encode(coded))


def _prefix(id: str) -> str:
    return next((prefix for prefix in PREFIXES if id.startswith(prefix)), "")


def _signature(secret: bytes, form: int, mark: AccountMark, owner: str, native: str) -> bytes:
    parts = [text.encode("utf-8", "surrogatepass") for text in (owner, native)]
    data = b"".join((b"trigate id", bytes((form,)), mark.provider, mark.entry, len(parts[0]).to_bytes(4), *parts))
    return hmac.digest(secret, data, "sha256")[:_SIGNATURE]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


GOOD_FOR: Final = 24 * 3600
"""Seconds that an upload in several steps may take: gigabytes take hours."""

SecretsOf: TypeAlias = Callable[[str], Iterable[bytes]]

_LONGEST_TOKEN: Final = 8192
_TOKEN_SIGNATURE: Final = 32


@attrs.frozen(eq=False, repr=False)
class UploadToken:
    """An upload in several steps of ``owner``, whose client name is ``client``, valid until ``until`` (Unix seconds).

    It continues at ``path`` of the account whose first entry is ``entry``. Google's clients send file bytes to the URL
    that they received, without a key (google-genai 3.4, googleapis/java-genai#817): the token in the URL identifies the
    upload, and permits nothing else."""

    owner: str
    client: str | None
    entry: str
    path: str
    until: int


def write_token(token: UploadToken, secret: bytes) -> str:
    """Return ``token`` as text for a URL, signed with ``secret``."""
    data = msgspec.json.encode(attrs.astuple(token))
    return _encode(_token_signature(secret, data) + data)


def read_token(text: str, secrets_of: SecretsOf, now: float) -> UploadToken | None:
    """Return the token in ``text`` if its signature and time are valid; ``secrets_of`` returns an entry's secrets."""
    data = _decode(text) if len(text) <= _LONGEST_TOKEN else b""
    signature, signed = data[:_TOKEN_SIGNATURE], data[_TOKEN_SIGNATURE:]
    try:
        token = UploadToken(*msgspec.json.decode(signed, type=tuple[str, str | None, str, str, int]))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    made = (_token_signature(secret, signed) for secret in secrets_of(token.entry))
    return token if any(hmac.compare_digest(one, signature) for one in made) and now < token.until else None


def _token_signature(secret: bytes, data: bytes) -> bytes:
    return hmac.digest(secret, b"trigate upload" + data, "sha256")
