"""Ids of kept objects that say at which provider's account an object is and whose it is, without any table.

The ids that clients get are the provider's own with a tag behind their prefix: ``file-abc`` becomes ``file-T…abc``. The
tag names the account and signs it together with the owner and the whole native id, so that another client's id, a
changed one and a provider's own are all alike: nothing is there (BerriAI/litellm#35530, majiayu000/litellm-rs#1130). In
every worker and after a restart they mean the same.

Layout of the tag, in base64url without padding: a byte for the form (the first character is always ``T``), four bytes
for the provider, four for the entry's name, twelve of an HMAC-SHA256.
"""

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
"""What ids of providers begin with: clients tell kinds by it. Any other id gets its tag in front."""

_PLAIN: Final = 0x4C  # a form: what is behind the tag stands as it is
_CODED: Final = 0x4D  # a form: it stands in base64url
_SHORT: Final = 4
_SIGNATURE: Final = 12
_TAG: Final = 28  # characters
_LONGEST: Final = 512  # characters of an id
_WORD: Final = re.compile(r"[A-Za-z0-9_-]*")


def short_digest(*words: str) -> bytes:
    """A few bytes by which an account is known again among those of a configuration."""
    return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).digest()[:_SHORT]


@attrs.frozen
class AccountMark:
    """What an id says of where its object is: short digests of the provider and of the entry's name. Where a provider
    has several accounts the name decides."""

    provider: bytes
    entry: bytes


@attrs.frozen
class TaggedId:
    """An id as a client shows it, taken apart and not yet believed."""

    text: str
    mark: AccountMark
    native: str
    signature: bytes = attrs.field(repr=False)
    form: int

    def is_signed(self, owner: str, secrets: Iterable[bytes]) -> bool:
        """Whether the gateway made it for ``owner``, with one of ``secrets``."""
        made = (_signature(secret, self.form, self.mark, owner, self.native) for secret in secrets)
        return any(hmac.compare_digest(one, self.signature) for one in made)


def tagged(native: str, owner: str, mark: AccountMark, secret: bytes) -> str:
    """The id that ``owner`` gets for the ``native`` one of the account with that ``mark``."""
    prefix = _prefix(native)
    rest = native[len(prefix) :]
    form = _PLAIN if _WORD.fullmatch(rest) else _CODED
    signature = _signature(secret, form, mark, owner, native)
    if form == _CODED:
        rest = _encoded(rest.encode("utf-8", "surrogatepass"))
    return prefix + _encoded(bytes((form,)) + mark.provider + mark.entry + signature) + rest


def read_tag(text: str) -> TaggedId | None:
    """What ``text`` says where it has the form of a tagged id; ``None`` for any other text. Never raises."""
    if len(text) > _LONGEST or not text.isascii():
        return None
    prefix = _prefix(text)
    tag, rest = text[len(prefix) : len(prefix) + _TAG], text[len(prefix) + _TAG :]
    data = _decoded(tag) if len(tag) == _TAG else b""
    if not data or data[0] not in (_PLAIN, _CODED) or not _WORD.fullmatch(rest):
        return None
    try:
        native = prefix + (rest if data[0] == _PLAIN else _decoded(rest).decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return None
    provider, entry = data[1 : 1 + _SHORT], data[1 + _SHORT : 1 + 2 * _SHORT]
    found = TaggedId(text, AccountMark(provider, entry), native, data[-_SIGNATURE:], data[0])
    return found if _spelled_so(found, prefix, rest, tag) else None


def _spelled_so(found: TaggedId, prefix: str, rest: str, tag: str) -> bool:
    """Whether it stands there as this module writes it: one id has one spelling, and base64 has bits to spare."""
    coded = found.native[len(prefix) :].encode("utf-8", "surrogatepass")
    data = bytes((found.form,)) + found.mark.provider + found.mark.entry + found.signature
    return tag == _encoded(data) and (found.form == _PLAIN or rest == _encoded(coded))


def _prefix(id: str) -> str:
    return next((prefix for prefix in PREFIXES if id.startswith(prefix)), "")


def _signature(secret: bytes, form: int, mark: AccountMark, owner: str, native: str) -> bytes:
    said = [text.encode("utf-8", "surrogatepass") for text in (owner, native)]
    data = b"".join((b"trigate id", bytes((form,)), mark.provider, mark.entry, len(said[0]).to_bytes(4), *said))
    return hmac.digest(secret, data, "sha256")[:_SIGNATURE]


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


GOOD_FOR: Final = 24 * 3600
"""Seconds for which an upload in several steps may go on: uploads of gigabytes take hours."""

SecretsOf: TypeAlias = Callable[[str], Iterable[bytes]]

_LONGEST_TOKEN: Final = 8192
_TOKEN_SIGNATURE: Final = 32


@attrs.frozen
class UploadToken:
    """An upload in several steps of ``owner`` (``client`` is its name, if it has one), which goes on at ``path`` of the
    account whose first entry is called ``entry``, until ``until`` (Unix seconds).

    Google's clients send a file's bytes to the address that they were told, without any key (google-genai 3.4,
    googleapis/java-genai#817): the token in that address says whose upload it is, and is good for nothing else."""

    owner: str
    client: str | None
    entry: str
    path: str
    until: int


def written_token(token: UploadToken, secret: bytes) -> str:
    """Return ``token`` as it stands in an address, signed with ``secret``."""
    data = msgspec.json.encode(attrs.astuple(token))
    return _encoded(_token_signature(secret, data) + data)


def read_token(text: str, secrets_of: SecretsOf, now: float) -> UploadToken | None:
    """Return the token in ``text``, if it was made here and is still good. ``secrets_of`` gives those of an entry."""
    data = _decoded(text) if len(text) <= _LONGEST_TOKEN else b""
    signature, signed = data[:_TOKEN_SIGNATURE], data[_TOKEN_SIGNATURE:]
    try:
        token = UploadToken(*msgspec.json.decode(signed, type=tuple[str, str | None, str, str, int]))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    made = (_token_signature(secret, signed) for secret in secrets_of(token.entry))
    return token if any(hmac.compare_digest(one, signature) for one in made) and now < token.until else None


def _token_signature(secret: bytes, data: bytes) -> bytes:
    return hmac.digest(secret, b"trigate upload" + data, "sha256")
