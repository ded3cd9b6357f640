"""The kind ``secrets``: keys and tokens by their published formats, private keys, and passwords in URLs."""

import hashlib
import re
from collections.abc import Iterator
from typing import Final

import attrs

from configfile.keys import setting
from gateway.steps.kinds.normal import decoded_texts, may_be_encoded
from gateway.steps.kinds.scanning import LONGEST_SEGMENT, Match, ScanningStep
from gateway.steps.kinds.secret_formats import ROWS, SecretRow

PRIVATE_KEY: Final = "private_key"
URL_PASSWORD: Final = "url_password"

LABELS: Final = tuple(dict.fromkeys((*(row.label for row in ROWS), PRIVATE_KEY, URL_PASSWORD)))


@attrs.frozen(repr=False)
class SecretsSettings:
    """The settings of ``secrets``."""

    holds_secrets = True

    allow: tuple[str, ...] = setting(
        "Values that are no findings, such as keys in examples: the value, or `sha256:` and its digest in hexadecimal.",
        (),
        shown="none",
        secret=True,
    )


SHORTEST: Final = 16
"""Characters of the shortest secret with a format."""

CONTEXT: Final = 64
"""Characters before a secret that may have its name."""

_PIECE: Final = r"[!#-&(-;=?-\[\]^_a-~]"  # printable ASCII without space, quotes, angle brackets and backslash
_WORDS: Final = re.compile(_PIECE + "++")
_PIECES: Final = "".join(char for char in map(chr, range(33, 127)) if char not in "\"'`<>\\")
_BEGIN: Final = "-----BEGIN "
_PEM: Final = r"-----BEGIN [A-Z0-9 ]{0,40}+(?:-{1,5}+[A-Za-z0-9+/=\s\\:,.;()]*+(?:-{1,5}+[A-Z0-9 ]{0,46}+-{0,5}+)?)?"
_WORDS_AND_KEYS: Final = re.compile(rf"{_PEM}|(?:(?!{_BEGIN}){_PIECE})++")
_PRIVATE: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")
_KEY_DATA: Final = re.compile(r"[A-Za-z0-9+/]{24}")
_LONG: Final = re.compile(_PIECE + "{16}")

_MARKED: Final = [(mark, row, re.compile(row.pattern)) for row in ROWS for mark in row.marks.split()]
_NAMED: Final = [(row, re.compile(rf"(?<![A-Za-z0-9+/]){row.pattern}")) for row in ROWS if row.before is not None]
_OPEN_JWT: Final = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]*+){0,2}\Z")

_PASSWORD: Final = re.compile(r"://[^\s/@:?#\"'<>]{0,128}:([^\s/@\"'<>]{1,256})@(?=[A-Za-z0-9\[])")
_PLACEHOLDERS: Final = frozenset(("password", "pass", "passwd", "pwd", "your_password", "yourpassword"))
_VARIABLE: Final = re.compile(r"[$%{\[<(].*|[*x.X]+|[A-Z]+(?:_[A-Z]+)+", re.DOTALL)


class SecretsStep(ScanningStep):
    """A step that finds secrets, except those that the settings allow."""

    labels = LABELS

    def __init__(self, settings: SecretsSettings) -> None:
        self._allowed = frozenset(one for one in settings.allow if not one.startswith("sha256:"))
        self._digests = frozenset(one[7:].lower() for one in settings.allow if one.startswith("sha256:"))

    def segments(self, text: str) -> re.Pattern[str]:
        return _WORDS_AND_KEYS if _BEGIN in text else _WORDS

    def may_match(self, text: str, start: int) -> bool:
        is_long = len(text) - start >= SHORTEST and _LONG.search(text, start) is not None
        return is_long or text.find("://", start) >= 0

    def short_tail(self, text: str, start: int) -> int | None:
        tail = max(start, len(text.rstrip(_PIECES)))
        return None if len(text) - tail > LONGEST_SEGMENT or _BEGIN in text else tail

    def open_value(self, text: str, start: int, end: int) -> int:
        found = _OPEN_JWT.search(text[:end], max(start, end - 8192))
        return end if found is None else found.start()

    def search(self, text: str, start: int, end: int) -> Iterator[Match]:
        for label, first, last in self._search_plain(text, start, end):
            if not self._is_allowed(text[first:last]):
                yield label, first, last
        if may_be_encoded(text, start, end):
            for decoded in decoded_texts(text, start, end):
                for label, first, last in self._search_plain(decoded.text, 0, len(decoded.text)):
                    if not self._is_allowed(decoded.text[first:last]):
                        yield label, *decoded.span(first, last)

    def _search_plain(self, text: str, start: int, end: int) -> Iterator[Match]:
        header = _PRIVATE.match(text, start, end) if text.startswith(_BEGIN, start) else None
        if header is not None and _KEY_DATA.search(text, header.end(), end) is not None:
            yield PRIVATE_KEY, start, start + len(text[start:end].rstrip())
            return
        if end - start >= SHORTEST:
            known: list[tuple[int, int]] = []
            for label, first, last in _marked_secrets(text, start, end):
                if all(last <= a or first >= b for a, b in known):
                    known.append((first, last))
                    yield label, first, last
        if text.find("://", start, end) >= 0:
            for found in _PASSWORD.finditer(text, start, end):
                if found[1].lower() not in _PLACEHOLDERS and _VARIABLE.fullmatch(found[1]) is None:
                    yield URL_PASSWORD, *found.span(1)

    def _is_allowed(self, value: str) -> bool:
        if value in self._allowed:
            return True
        return bool(self._digests) and hashlib.sha256(value.encode()).hexdigest() in self._digests


def _marked_secrets(text: str, start: int, end: int) -> Iterator[Match]:
    """Yield the secrets with a published format, more than one for text that several formats match."""
    for mark, row, pattern in _MARKED:
        at = text.find(mark, start, end)
        while at >= 0:
            found = _match_at(row, pattern, text, at, start, end)
            if found is not None and (row.is_valid is None or row.is_valid(found[0])):
                yield row.label, *found.span()
            at = text.find(mark, at + 1 if found is None else found.end(), end)
    for row, pattern in _NAMED:
        if any(text.find(word, max(0, start - CONTEXT), end) >= 0 for word in ("key", "KEY", "Key")):
            for found in pattern.finditer(text, start, end):
                before = text[max(0, found.start() - CONTEXT) : found.start()]
                if row.before is not None and row.before.search(before) is not None:
                    yield row.label, *found.span()


def _match_at(
    row: SecretRow, pattern: re.Pattern[str], text: str, mark: int, start: int, end: int
) -> re.Match[str] | None:
    """Return the match of a format whose mark is at position ``mark``."""
    for lead in row.lead:
        first = mark - lead
        if first >= start and _is_boundary(text, first, is_strict=row.is_strict):
            found = pattern.match(text, first, end)
            if found is not None:
                return found
    return None


def _is_boundary(text: str, at: int, *, is_strict: bool) -> bool:
    """Return whether a secret may begin at ``at``: after another word, or an escape such as ``\\n``."""
    if at == 0:
        return True
    before = text[at - 1]
    if before.isalnum() and before.isascii():
        return before in "nrt" and at > 1 and text[at - 2] == "\\"
    return not is_strict or before not in "-_"
