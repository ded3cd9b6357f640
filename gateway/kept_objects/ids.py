"""Ids of stored objects that contain the provider account and the owner, so that no table is needed.

A client's id is the provider's with a tag after the prefix: ``file-abc`` becomes ``file-T…abc``. The tag identifies the
account, and signs it together with the owner and the native id. Ids of other clients, changed ids and native ids are
therefore all unknown (BerriAI/litellm#35530, majiayu000/litellm-rs#1130). Ids work in every worker and after a restart.

The tag in base64url without padding: one byte for the form (the first character is always ``T``), four for the
provider, four for the entry's name, twelve of an HMAC-SHA256."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import attrs
import msgspec

from streams.surrogates import NOT_JSON

PREFIXES: Final = (
    "assistant-", "batch_", "batches/", "cfile_", "cntr_", "container_", "file-", "file_", "files/", "msgbatch_",
    "part_", "rtc_", "upload_", "video_", "vs_", "vsfb_",
)  # fmt: skip
"""Prefixes of providers' ids, by which clients recognise kinds; other ids get their tag at the front."""

_UNCHANGED: Final = 0x4C  # a form: the rest after the tag is unchanged
_ENCODED: Final = 0x4D  # a form: the rest is in base64url
_DIGEST_BYTES: Final = 4
_SIGNATURE_BYTES: Final = 12
_TAG_LENGTH: Final = 28  # characters
_MAX_ID: Final = 512  # characters of an id
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]*")


def short_digest(*words: str) -> bytes:
    """Return a digest of four bytes that identifies a provider or an entry within a configuration."""
    return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).digest()[:_DIGEST_BYTES]


@attrs.frozen(repr=False)
class AccountMark:
    """The account in an id: short digests of the provider and of the name of the account's first entry."""

    provider: bytes
    entry: bytes


@attrs.frozen(eq=False)
class TaggedId:
    """The parts of a client's id, whose signature is not yet verified."""

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
    """Return the signed id that ``owner`` gets for a provider's id ``native`` in the account with ``mark``."""
    prefix = _prefix(native)
    rest = native[len(prefix) :]
    form = _UNCHANGED if _URL_SAFE.fullmatch(rest) else _ENCODED
    signature = _signature(secret, form, mark, owner, native)
    if form == _ENCODED:
        rest = _encode(rest.encode("utf-8", "surrogatepass"))
    return prefix + _encode(bytes((form,)) + mark.provider + mark.entry + signature) + rest


def parse_tagged_id(text: str) -> TaggedId | None:
    """Split ``text`` into the parts of a tagged id; return ``None`` if it has another form. Never raises."""
    if len(text) > _MAX_ID or not text.isascii():
        return None
    prefix = _prefix(text)
    tag, rest = text[len(prefix) : len(prefix) + _TAG_LENGTH], text[len(prefix) + _TAG_LENGTH :]
    data = _decode(tag) if len(tag) == _TAG_LENGTH else b""
    if not data or data[0] not in (_UNCHANGED, _ENCODED) or not _URL_SAFE.fullmatch(rest):
        return None
    try:
        native = prefix + (rest if data[0] == _UNCHANGED else _decode(rest).decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return None
    provider, entry = data[1 : 1 + _DIGEST_BYTES], data[1 + _DIGEST_BYTES : 1 + 2 * _DIGEST_BYTES]
    found = TaggedId(text, AccountMark(provider, entry), native, data[-_SIGNATURE_BYTES:], data[0])
    return found if _is_canonical(found, prefix, rest, tag) else None


def _is_canonical(found: TaggedId, prefix: str, rest: str, tag: str) -> bool:
    """Return whether the id has its only valid spelling, because base64 can spell the same bytes differently."""
    coded = found.native[len(prefix) :].encode("utf-8", "surrogatepass")
    data = bytes((found.form,)) + found.mark.provider + found.mark.entry + found.signature
    return tag == _encode(data) and (found.form == _UNCHANGED or rest == _encode(coded))


def _prefix(id: str) -> str:
    return next((prefix for prefix in PREFIXES if id.startswith(prefix)), "")


def _signature(secret: bytes, form: int, mark: AccountMark, owner: str, native: str) -> bytes:
    parts = [text.encode("utf-8", "surrogatepass") for text in (owner, native)]
    data = b"".join((b"trigate id", bytes((form,)), mark.provider, mark.entry, len(parts[0]).to_bytes(4), *parts))
    return hmac.digest(secret, data, "sha256")[:_SIGNATURE_BYTES]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return b""


GOOD_FOR: Final = 24 * 3600
"""Seconds that an upload in several steps may take: gigabytes take hours."""

SecretsOf: TypeAlias = Callable[[str], Iterable[bytes]]

_MAX_TOKEN: Final = 8192
_TOKEN_SIGNATURE_BYTES: Final = 32


@attrs.frozen(eq=False, repr=False)
class UploadToken:
    """A permission to continue one upload of ``owner`` until ``until`` (Unix seconds).

    The upload continues at ``path`` of the account whose first entry is ``entry``. Google's clients send file bytes to
    the URL that they received, without a key (google-genai 3.4, googleapis/java-genai#817), so the URL contains this
    token."""

    owner: str
    client: str | None
    entry: str
    path: str
    until: int


def write_token(token: UploadToken, secret: bytes) -> str:
    """Encode ``token`` for a URL, signed with ``secret``."""
    data = msgspec.json.encode(attrs.astuple(token))
    return _encode(_token_signature(secret, data) + data)


def read_token(text: str, secrets_of: SecretsOf, now: float) -> UploadToken | None:
    """Decode an upload token; return ``None`` if its signature is invalid or it has expired at ``now``.

    ``secrets_of`` returns the secrets of an entry."""
    data = _decode(text) if len(text) <= _MAX_TOKEN else b""
    signature, signed = data[:_TOKEN_SIGNATURE_BYTES], data[_TOKEN_SIGNATURE_BYTES:]
    try:
        token = UploadToken(*msgspec.json.decode(signed, type=tuple[str, str | None, str, str, int]))
    except NOT_JSON:
        return None
    made = (_token_signature(secret, signed) for secret in secrets_of(token.entry))
    return token if any(hmac.compare_digest(one, signature) for one in made) and now < token.until else None


def _token_signature(secret: bytes, data: bytes) -> bytes:
    return hmac.digest(secret, b"trigate upload" + data, "sha256")
