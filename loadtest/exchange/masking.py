"""Masks credentials in everything that is shown or written.

Servers often repeat the rejected key or the unknown path, sometimes in base64 or escaped for JSON or a URL.
"""

import base64
import contextlib
import functools
import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs
import msgspec

from loadtest.exchange.record import ExchangeRecord
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.masked_urls import url_secrets
from loadtest.plan.scenario import MASK, NAMES, Scenario, named_secrets
from streams.surrogates import NOT_JSON

SECRET: Final = 8  # characters of the shortest word that may be a credential; "Bearer" has fewer
MOST: Final = 100  # credentials to collect from one file of requests
# Characters; escaped credentials are only searched in shorter texts, because it is slow.
LONGEST_SPELLED: Final = 64 * 1024

_MEMBER: Final = re.compile(rf'"{NAMES}"\s*:\s*("(?:[^"\\]|\\.){{{SECRET},4096}}")'.encode(), re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\u00[2-7]|\\[^\w\s\"\\]|%(?:25)*[2-7][0-9a-fA-F]")
_CUT: Final = re.compile(r"$|[\"'\\%…]|\.\.\.")
"""The end of a word that is cut off, possibly within an escape."""


@attrs.frozen
class SecretWords:
    """Words that may be credentials, also in base64, the longest first."""

    words: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def of_load(cls, scenario: Scenario, target: str, key: str | None) -> "SecretWords":
        values = [key or "", *(value for _, value in scenario.headers), *url_secrets(scenario.targets[target])]
        return cls.from_values((*values, *(value for request in scenario.requests for value in _body_secrets(request))))

    @classmethod
    def from_values(cls, values: Iterable[str]) -> "SecretWords":
        words = {word for value in values for word in value.split() if len(word) >= SECRET}
        words |= {part for word in words for part in _basic_credentials(word) if len(part) >= SECRET}
        spelled = {form for word in words for form in _base64_forms(word)}
        return cls(tuple(sorted(words | spelled, key=len, reverse=True)))

    def mask(self, text: str) -> str:
        """Return ``text`` with the words masked, including words that are cut off."""
        escaped = len(text) <= LONGEST_SPELLED and _ESCAPED.search(text) is not None
        for cut in (False, True):  # a word may be the beginning of another
            for word in self.words:
                text = _mask_word(text, word, escaped=escaped, cut=cut)
        return text

    def mask_record(self, record: ExchangeRecord) -> ExchangeRecord:
        """Return the record with the words masked in every text from the server."""
        problem, mask = record.problem, self.mask
        return attrs.evolve(
            record,
            problem=problem and attrs.evolve(problem, kind=mask(problem.kind), detail=mask(problem.detail)),
            finish=mask(record.finish),
            request_id=mask(record.request_id),
            route=tuple((mask(name), mask(value)) for name, value in record.route),
        )


def _mask_word(text: str, word: str, *, escaped: bool, cut: bool) -> str:
    """Return ``text`` with ``word`` masked.

    ``cut`` masks beginnings of it too, and ``escaped`` finds escaped characters.
    """
    if not escaped and word[:SECRET] not in text:
        return text
    pieces: list[str] = []
    done = 0
    for begin in _beginning_pattern(word, escaped).finditer(text):
        if begin.start() < done:
            continue
        end, at = begin.end(), SECRET
        while at < len(word) and (found := _character_pattern(word[at], escaped).match(text, end)):
            end, at = found.end(), at + 1
        if at == len(word) or (cut and _CUT.match(text, end)):
            pieces += (text[done : begin.start()], MASK)
            done = end
    return "".join((*pieces, text[done:]))


@functools.lru_cache(maxsize=1024)
def _beginning_pattern(word: str, escaped: bool) -> re.Pattern[str]:
    return re.compile("".join(_character_pattern(character, escaped).pattern for character in word[:SECRET]))


@functools.lru_cache(maxsize=1024)
def _character_pattern(character: str, escaped: bool) -> re.Pattern[str]:
    """Return a pattern for ``character``. With ``escaped``, it also matches escapes of JSON, nested JSON and URLs."""
    itself = re.escape(character)
    if not escaped or not character.isascii():
        return re.compile(itself)
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(character):02x}")
    behind = "" if character.isalnum() else r"\\{0,4}"
    return re.compile(rf"(?:{behind}{itself}|\\{{1,4}}u00{code}|%(?:25){{0,2}}{code})")


def _base64_forms(word: str) -> Iterator[str]:
    """Yield the base64 characters that represent ``word`` at each of the three offsets, in both alphabets."""
    data = word.encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()
        form = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        yield form
        yield form.translate({ord("+"): "-", ord("/"): "_"})


def _basic_credentials(word: str) -> Iterator[str]:
    """Yield user, password and both together if ``word`` is an HTTP Basic credential."""
    try:
        said = base64.b64decode(word, validate=True).decode()
    except ValueError:
        return
    user, colon, password = said.partition(":")
    if colon and said.isprintable():
        yield from (said, user, password)


def _body_secrets(request: LoadRequest) -> Iterator[str]:
    yield from named_secrets(request.extra)
    if request.requests is not None and request.requests.is_file():
        stamp = request.requests.stat()
        yield from _file_secrets(request.requests, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=8)
def _file_secrets(path: Path, _changed: int, _size: int) -> tuple[str, ...]:
    """Return the first ``MOST`` secrets in a file of requests."""
    found: dict[str, None] = {}
    with (
        contextlib.suppress(OSError, ValueError),  # the reader of the requests reports it
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        for member in _MEMBER.finditer(data):
            found[_decode_string(member[1])] = None
            if len(found) == MOST:
                break
    return tuple(found)


def _decode_string(text: bytes) -> str:
    try:
        return str(msgspec.json.decode(text))
    except NOT_JSON:
        return text.decode(errors="replace")[1:-1]
