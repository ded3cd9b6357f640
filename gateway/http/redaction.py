"""The removal of credentials from texts."""

import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec

from gateway.http.headers import Headers

REDACTED = b"[redacted]"

SHORTEST = 8
"""The shortest text that counts as a credential without other evidence."""

WINDOW: Final = 256 * 1024
"""Bytes that one C call searches. A search of text that resembles a credential takes up to 30 ns a byte, and no other
thread runs meanwhile."""

LONGEST_SPELLED: Final = 256 * 1024
"""Bytes in which other spellings are searched, at about 100 ns each."""

LONGEST_ERROR: Final = 16 * 1024
"""Bytes up to which a part of a response, such as an event, counts as an error: tools may return megabytes."""

Secrets: TypeAlias = tuple[str, ...]

# Configured headers whose names contain one of these are also credentials.
_SECRET = ("auth", "key", "token", "secret", "cookie")


_GRAM: Final = 8
"""Bytes of a piece of a text that a search looks up."""

_INDEXED: Final = 2 * _GRAM - 1
"""Bytes of a secret that contain a whole piece of a text, wherever the pieces of the text begin."""

_MANY: Final = 64
"""Secrets above which an index is faster than a search for each."""


class SecretSearch:
    """A search for ``secrets`` in texts. Its time hardly depends on their number: a file may have thousands of keys.

    The index has the pieces in the last bytes of each long secret, because secrets often begin with the same prefix. A
    search looks up one piece of the text after the other."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.forms: Final = search_forms(secrets)
        self._index: dict[bytes, str] = {}
        self._others: defaultdict[bytes, list[str]] = defaultdict(list)
        """The other secrets of a piece that several have."""
        few: list[str] = []
        for form in self.forms:
            word = form.encode()
            if len(self.forms) <= _MANY or len(word) < _INDEXED:
                few.append(form)
                continue
            for at in range(len(word) - _INDEXED, len(word) - _GRAM + 1):
                piece = word[at : at + _GRAM]
                if self._index.setdefault(piece, form) is not form:
                    self._others[piece].append(form)
        self._few: Final = tuple(few)  # shorter than the indexed ones, so that they are replaced after them

    def replace_in(self, text: str, by: str) -> str:
        """Return ``text`` with ``by`` in place of each secret."""
        if self._index:
            for form in self._find_indexed(text.encode(errors="surrogatepass")):
                text = text.replace(form, by)
        for form in self._few:
            if form in text:
                text = text.replace(form, by)
        return text

    def redact(self, data: bytes) -> bytes:
        """Return ``data`` without secrets."""
        return redact(redact(data, self._find_indexed(data)), self._few)

    def _find_indexed(self, data: bytes) -> Secrets:
        """Return the indexed secrets in ``data``, in search order."""
        pieces = {data[at : at + _GRAM] for at in range(0, len(data), _GRAM)} if self._index else set()
        found = pieces & self._index.keys()
        candidates = {form for piece in found for form in (self._index[piece], *self._others.get(piece, ()))}
        return tuple(sorted((form for form in candidates if form.encode() in data), key=len, reverse=True))


class FetchedSecrets:
    """The recently fetched credentials of the process; ``words`` are their ``search_forms``, ``search`` finds them."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=FETCHED_KEPT)
        self.search = SecretSearch()

    @property
    def words(self) -> Secrets:
        return self.search.forms

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask ``secrets`` from now on, instead of those fetched longest ago."""
        self._kept.extend(one for one in secrets if one not in self._kept)
        self.search = SecretSearch(self._kept)


FETCHED_KEPT: Final = 256


def search_forms(secrets: Iterable[str]) -> Secrets:
    """Return the ``secrets`` to search for, also as JSON writes them, in search order: one may be part of another.

    Short ones are placeholders such as ``none``, and would mask ordinary words."""
    # A variable that was not expanded is a special value, not a plain string.
    long = {str(secret) for secret in secrets if len(secret) >= SHORTEST}
    spelled = {msgspec.json.encode(secret)[1:-1].decode() for secret in long}
    return tuple(sorted(long | spelled, key=len, reverse=True))


FETCHED: Final = FetchedSecrets()


def credentials_among(headers: Headers) -> Secrets:
    """Return the values of ``headers`` whose names suggest credentials, and their parts: without the scheme of
    ``Authorization``, and each cookie's value."""
    found: list[str] = []
    for name, value in headers:
        if not any(word in name.lower() for word in _SECRET):
            continue
        scheme, _, rest = value.partition(" ")
        if scheme.lower() not in _SCHEMES:
            found.append(value.strip())
        if "cookie" in name.lower():
            found += [pair.partition("=")[2].strip() for pair in value.split(";")]
        else:
            found.append(rest.strip())
    return tuple(filter(None, found))


_SCHEMES: Final = frozenset(("bearer", "basic", "token", "apikey"))
"""The schemes of ``Authorization`` that are not part of the credential (RFC 9110, section 11.4)."""


def redact_own(text: str, headers: Headers) -> str:
    """Return ``text``, a client's name for something, without the credentials in the ``headers`` of its request: a mask
    of log lines may not find one within a word."""
    return redact(text.encode(), search_forms(credentials_among(headers))).decode()


def redact(data: bytes, secrets: Secrets) -> bytes:
    """Return ``data`` without credentials, which some providers repeat; ``secrets`` are from ``search_forms``."""
    for secret in secrets:
        data = _replace(data, secret.encode())
    return data


def _replace(data: bytes, word: bytes, window: int = WINDOW) -> bytes:
    """Return ``data`` with ``REDACTED`` for each ``word``, searched in calls of ``window`` bytes."""
    if len(data) <= window:
        return data.replace(word, REDACTED)
    parts: list[bytes] = []
    copied = start = 0
    while start < len(data):
        found = data.find(word, start, start + window + len(word) - 1)
        if found < 0:
            start += window
        else:
            parts += (data[copied:found], REDACTED)
            copied = start = found + len(word)
    return b"".join((*parts, data[copied:])) if parts else data


def redact_spelled(data: bytes, secrets: Secrets) -> bytes:
    r"""Return ``data`` without credentials in any spelling, escaped as in JSON (``\u002d``, also nested) or URLs
    (``%2d``).

    Everything else stays unchanged. It is for short, rare texts: errors and headers."""
    data = redact(data, secrets)
    if not (b"\\" in data or b"%" in data) or len(data) > LONGEST_SPELLED:
        return data
    words = {word.encode() for word in secrets}
    words |= {word for word in map(_decode, words) if len(word) >= SHORTEST}
    plain, is_found = data, False
    for _ in range(LAYERS):
        plain = _decode(plain)
        is_found = is_found or any(word in plain for word in words)
    return _replace_decoded(data, words) if is_found else data


LAYERS: Final = 3
"""The most escapes around one character that are removed."""
_ESCAPE: Final = re.compile(rb"((?:\\u00|%)[0-9a-fA-F]{2}|\\[^0-9A-Za-z])", re.DOTALL)


def _decode(data: bytes) -> bytes:
    """Return ``data`` without the outermost escapes of each character."""
    parts = _ESCAPE.split(data)  # odd positions are escapes; a function for each of them takes five times as long
    parts[1::2] = map(_character, parts[1::2])
    return b"".join(parts)


@cache
def _character(escape: bytes) -> bytes:
    """Return the character of one of the about thousand escapes."""
    return escape[1:] if len(escape) == 2 else bytes((int(escape[-2:], 16),))


def _replace_decoded(data: bytes, words: Collection[bytes]) -> bytes:
    """Return ``data`` with ``REDACTED`` in place of every text that is one of ``words`` without some of its escapes."""
    plain, starts = data, list(range(len(data) + 1))  # of the bytes of ``plain`` in ``data``
    spans: list[tuple[int, int]] = []
    for _ in range(LAYERS):
        kept, end = [], 0
        for escape in _ESCAPE.finditer(plain):
            kept += starts[end : escape.start() + 1]
            end = escape.end()
        starts, plain = kept + starts[end:], _decode(plain)
        spans += ((starts[start], starts[end]) for word in words for start, end in _find_all(word, plain))
    parts: list[bytes] = []
    copied = 0
    for start, end in sorted(spans):
        if start >= copied:
            parts += (data[copied:start], REDACTED)
        copied = max(copied, end)
    return b"".join((*parts, data[copied:]))


def _find_all(word: bytes, text: bytes) -> Iterator[tuple[int, int]]:
    start = text.find(word)
    while start >= 0:
        yield start, (end := start + len(word))
        start = text.find(word, end)


def redact_answer(data: bytes, secrets: Secrets) -> bytes:
    """Return a part of a provider's response without credentials. If it may be an error, it may spell them otherwise,
    because errors quote requests."""
    is_error = len(data) <= LONGEST_ERROR and may_be_error(data)
    return redact_spelled(data, secrets) if is_error and _may_have_spelled(data, secrets) else redact(data, secrets)


def may_be_error(data: bytes) -> bool:
    """Return whether a part of a response may be an error; a model's words may look like one."""
    return b"rror" in data or b"RROR" in data or b"xception" in data


def _may_have_spelled(data: bytes, secrets: Secrets) -> bool:
    """Return whether ``data`` may have one of ``secrets``, also with escapes.

    Almost no event has one, and to remove each escape takes a hundred times longer."""
    words = [secret.encode() for secret in secrets]
    if any(mark in word for word in words for mark in (b"\\", b"%", b"u00")):  # they look like escapes themselves
        return True
    return any(_has_spelled(data, words, escape) for escape in (_HEX_ESCAPE, _BARE_ESCAPE))


def _has_spelled(data: bytes, words: Collection[bytes], escape: re.Pattern[bytes]) -> bool:
    """Return whether ``data`` without backslashes, and perhaps without each ``escape``, has one of ``words``."""
    for _ in range(LAYERS + 1):
        bare = data.replace(b"\\", b"")
        if any(word in bare for word in words):
            return True
        if not (b"%" in data or b"u00" in bare):
            return False
        parts = escape.split(bare if escape is _BARE_ESCAPE else data)
        parts[1::2] = map(_character, parts[1::2])
        data = b"".join(parts)
    return False


_HEX_ESCAPE: Final = re.compile(rb"((?:\\u00|%)[0-9a-fA-F]{2})")
_BARE_ESCAPE: Final = re.compile(rb"((?:u00|%)[0-9a-fA-F]{2})")
"""An escape whose backslash is missing, because another escape may be within it."""


def redact_json(value: Any, secrets: Secrets) -> Any:
    """Return a JSON value after ``redact_spelled``."""
    return None if value is None else msgspec.json.decode(redact_spelled(msgspec.json.encode(value), secrets))
