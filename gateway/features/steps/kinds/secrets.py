"""The kind ``secrets``: keys and tokens by their published formats, private keys, and passwords in URLs."""

import hashlib
import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, TypeAlias

import attrs

from configfile.keys import setting
from gateway.features.steps.kinds.normal import DecodedTexts
from gateway.features.steps.kinds.scanning import LONGEST_SEGMENT, Match, RankedSpan, ScanningStep, without_overlaps
from gateway.features.steps.kinds.secret_formats import ROWS, SecretRow
from gateway.features.steps.runner import list_limited

PRIVATE_KEY: Final = "private_key"
URL_PASSWORD: Final = "url_password"

LABELS: Final = tuple(dict.fromkeys((*(row.label for row in ROWS), PRIVATE_KEY, URL_PASSWORD)))


@attrs.frozen(repr=False)
class SecretsSettings:
    """The settings of ``secrets``."""

    holds_secrets = True

    allow: tuple[str, ...] = setting(
        "Values to ignore, such as keys in examples: the value, or `sha256:` and its digest in hexadecimal.",
        (),
        secret=True,
    )


SHORTEST: Final = 16
"""Characters of the shortest secret with a format."""

CONTEXT: Final = 64
"""Characters before a secret that may have its name."""

_PIECE: Final = r"[!#-&(-;=?-\[\]^_a-~]"  # printable ASCII without space, quotes, angle brackets and backslash
_PIECES: Final = "".join(char for char in map(chr, range(33, 127)) if char not in "\"'`<>\\")
_BEGIN: Final = "-----BEGIN "
_PEM: Final = r"-----BEGIN [A-Z0-9 ]{0,40}+(?:-{1,5}+[A-Za-z0-9+/=\s\\:,.;()]*+(?:-{1,5}+[A-Z0-9 ]{0,46}+-{0,5}+)?)?"
_WORDS_AND_KEYS: Final = re.compile(rf"{_PEM}|(?:(?!{_BEGIN}){_PIECE})++")
_PRIVATE: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")
_KEY_DATA: Final = re.compile(r"[A-Za-z0-9+/]{24}")
_LONG: Final = re.compile(_PIECE + "{16}")

_NAMED: Final = [
    (rank, row, re.compile(rf"(?<![A-Za-z0-9+/]){row.pattern}"))
    for rank, row in enumerate(ROWS)
    if row.before is not None
]
_OPEN_JWT: Final = re.compile(r"eyJ(?<![A-Za-z0-9_-]eyJ)[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]*+){0,2}\Z")

_PASSWORD: Final = re.compile(
    r"://[!$-&(-.0-9;=A-\[\]^_a-~]{0,128}+:([!#-&(-.0-;=?A-\[\]^_a-~]{1,256}+)@(?=[A-Za-z0-9\[])"
)
_PLACEHOLDERS: Final = frozenset(("password", "pass", "passwd", "pwd", "your_password", "yourpassword"))
_VARIABLE: Final = re.compile(r"[$%{\[<(].*|[*x.X]+|[A-Z]+(?:_[A-Z]+)+", re.DOTALL)


def _patterns_of(row: SecretRow, mark: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the pattern of ``mark`` where the secret may be, and that of the secret, after another word or an escape
    such as ``\\n``. The text around a mark is bounded, so that the search of many marks takes linear time."""
    bounded = re.split(r"\{([0-9]+),\}\+", row.pattern, maxsplit=1)
    pattern = bounded[0] if len(bounded) == 1 else f"{bounded[0]}{{{bounded[1]}}}"
    escaped = re.escape(mark)
    word = "A-Za-z0-9_-" if row.is_strict else "A-Za-z0-9"
    places = (
        rf"(?:(?<![{word}].{{{lead}}}{escaped})|(?<=\\[nrt].{{{lead}}}{escaped}))(?<=(?={pattern}).{{{lead}}}{escaped})"
        for lead in row.lead
    )
    find = re.compile(f"{escaped}(?:{'|'.join(places)})")
    return find, re.compile(rf"(?:(?<![{word}])|(?<=\\[nrt])){row.pattern}")


_Marked: TypeAlias = tuple[int, str, SecretRow, re.Pattern[str], re.Pattern[str]]


def _by_character() -> dict[str, list[_Marked]]:
    found: dict[str, list[_Marked]] = {}
    for rank, row in enumerate(ROWS):
        for mark in row.marks.split():
            char = next((one for one in mark if not one.isalnum()), mark[0])
            found.setdefault(char, []).append((rank, mark, row, *_patterns_of(row, mark)))
    return found


_MARKED: Final = _by_character()
"""The formats with their ranks and marks, by a character of the mark."""


class SecretsStep(ScanningStep):
    """A step that finds secrets, except those that the settings allow."""

    labels = LABELS
    segment = re.compile(_PIECE + "++")
    candidate = f"{_LONG.pattern}|://|{_BEGIN}"
    characters = _PIECES

    def __init__(self, settings: SecretsSettings) -> None:
        self._allowed = frozenset(one for one in settings.allow if not one.startswith("sha256:"))
        self._digests = frozenset(one[7:].lower() for one in settings.allow if one.startswith("sha256:"))

    def next_block(self, text: str, start: int) -> int:
        found = text.find(_BEGIN, start)
        return len(text) if found < 0 else found

    def end_of_segment(self, text: str, first: int, limit: int) -> int:
        pattern = self.segment if text.find(_BEGIN, first, limit) < 0 else _WORDS_AND_KEYS
        found = pattern.match(text, first, limit)
        return first if found is None else found.end()

    def may_match(self, text: str, start: int) -> bool:
        is_long = len(text) - start >= SHORTEST and _LONG.search(text, start) is not None
        return is_long or text.find("://", start) >= 0

    def short_tail(self, text: str, start: int) -> int | None:
        tail = max(start, len(text.rstrip(_PIECES)))
        return None if len(text) - tail > LONGEST_SEGMENT or _BEGIN in text else tail

    def open_value(self, text: str, start: int, end: int) -> int:
        found = _OPEN_JWT.search(text, max(start, end - 8192), end)
        return end if found is None else found.start()

    def search_decoded(self, decoded: DecodedTexts) -> Iterator[Match]:
        for run in decoded.runs if _BEGIN in decoded.text else ():
            if (key := _private_key(run.text, 0, len(run.text))) is not None:
                yield PRIVATE_KEY, *run.span(*key)
        yield from super().search_decoded(decoded)

    def search_end(self, text: str, first: int, end: int) -> Iterator[Match]:
        yield from self.search_plain(text, first, end)  # a key may be long
        yield from super().search_end(text, first, end)

    def search_plain(self, text: str, start: int, end: int) -> Iterator[Match]:
        if (key := _private_key(text, start, end)) is not None:
            yield PRIVATE_KEY, *key
            return
        if end - start >= SHORTEST and _LONG.search(text, start, end) is not None:
            for rank, first, last in without_overlaps(list_limited(_marked_secrets(text, start, end))):
                if not self._is_allowed(text[first:last]):
                    yield ROWS[rank].label, first, last
        if text.find("://", start, end) >= 0:
            for found in _PASSWORD.finditer(text, start, end):
                is_shown = found[1].lower() in _PLACEHOLDERS or _VARIABLE.fullmatch(found[1]) is not None
                if not is_shown and not self._is_allowed(found[1]):
                    yield URL_PASSWORD, *found.span(1)

    def _is_allowed(self, value: str) -> bool:
        if value in self._allowed:
            return True
        return bool(self._digests) and hashlib.sha256(value.encode()).hexdigest() in self._digests


def _private_key(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the span of the private key that begins at ``start``, or ``None``."""
    header = _PRIVATE.match(text, start, end) if text.startswith(_BEGIN, start) else None
    if header is None or _KEY_DATA.search(text, header.end(), end) is None:
        return None
    return start, start + len(text[start:end].rstrip())


def _marked_secrets(text: str, start: int, end: int) -> Iterator[RankedSpan]:
    """Yield the secrets with a published format, more than one for text that several formats match."""
    for rank, mark, row, find, pattern in chain.from_iterable(
        rows for char, rows in _MARKED.items() if text.find(char, start, end) >= 0
    ):
        if text.find(mark, start, end) < 0:
            continue
        at = start
        while (place := find.search(text, at, end)) is not None:
            at = place.end()
            found = _match_at(row, pattern, text, place.start(), start, end)
            if found is not None:
                at = max(at, found.end())
                if row.is_valid is None or row.is_valid(found[0]):
                    yield rank, *found.span()
    if any(text.find(word, max(0, start - CONTEXT), end) >= 0 for word in ("key", "KEY", "Key")):
        for rank, row, pattern in _NAMED:
            for found in pattern.finditer(text, start, end):
                before = text[max(0, found.start() - CONTEXT) : found.start()]
                if row.before is not None and row.before.search(before) is not None:
                    yield rank, *found.span()


def _match_at(
    row: SecretRow, pattern: re.Pattern[str], text: str, mark: int, start: int, end: int
) -> re.Match[str] | None:
    """Return the match of a format whose mark is at position ``mark``."""
    for lead in row.lead:
        if mark - lead >= start and (found := pattern.match(text, mark - lead, end)) is not None:
            return found
    return None
