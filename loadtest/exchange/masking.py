"""Credentials are kept out of whatever is shown or written: servers like to repeat the key that they refuse, and the
path that they do not know. Some say it as they have it: in base64, or escaped as JSON and URLs do."""

import base64
import binascii
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
from loadtest.plan.masked_urls import secrets
from loadtest.plan.scenario import MASK, NAMES, Scenario, named_secrets
from streams.surrogates import NOT_JSON

SECRET: Final = 8  # characters from which on a word of a header or a URL may be a credential: Bearer is none
MOST: Final = 100  # credentials of one file of requests that are looked for
LONGEST_SPELLED: Final = 64 * 1024  # characters in which escaped ones are looked for, which takes longer

_MEMBER: Final = re.compile(rf'"{NAMES}"\s*:\s*("(?:[^"\\]|\\.){{{SECRET},4096}}")'.encode(), re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\u00[2-7]|\\[^\w\s\"\\]|%(?:25)*[2-7][0-9a-fA-F]")
_CUT: Final = re.compile(r"$|[\"'\\%…]|\.\.\.")
"""What stands behind a word of which only the beginning is shown; it may be cut within an escape."""


@attrs.frozen
class SecretWords:
    """Words that may be credentials, as they are and in base64, the longest first."""

    words: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def of(cls, scenario: Scenario, target: str, key: str | None) -> "SecretWords":
        """Those of the load on one target."""
        values = [key or "", *(value for _, value in scenario.headers), *secrets(scenario.targets[target])]
        return cls.among((*values, *(value for request in scenario.requests for value in _in_bodies(request))))

    @classmethod
    def among(cls, values: Iterable[str]) -> "SecretWords":
        """Those in these values."""
        words = {word for value in values for word in value.split() if len(word) >= SECRET}
        words |= {part for word in words for part in _signed_in(word) if len(part) >= SECRET}
        spelled = {form for word in words for form in _in_base64(word)}
        return cls(tuple(sorted(words | spelled, key=len, reverse=True)))

    def masked(self, text: str) -> str:
        """The text without them, nor what is left of one that is cut off."""
        escaped = len(text) <= LONGEST_SPELLED and _ESCAPED.search(text) is not None
        for cut in (False, True):  # one word may be the beginning of another
            for word in self.words:
                text = _without(text, word, escaped=escaped, cut=cut)
        return text

    def masked_record(self, record: ExchangeRecord) -> ExchangeRecord:
        """The record without them in anything that the server said."""
        problem, masked = record.problem, self.masked
        return attrs.evolve(
            record,
            problem=problem and attrs.evolve(problem, kind=masked(problem.kind), detail=masked(problem.detail)),
            finish=masked(record.finish),
            request_id=masked(record.request_id),
            route=tuple((masked(name), masked(value)) for name, value in record.route),
        )


def _without(text: str, word: str, *, escaped: bool, cut: bool) -> str:
    """``text`` without ``word``, or without beginnings of it that are ``cut`` off; also if characters of it are
    ``escaped``."""
    if not escaped and word[:SECRET] not in text:
        return text
    pieces: list[str] = []
    done = 0
    for begin in _beginning(word, escaped).finditer(text):
        if begin.start() < done:
            continue
        end, at = begin.end(), SECRET
        while at < len(word) and (found := _spelling(word[at], escaped).match(text, end)):
            end, at = found.end(), at + 1
        if at == len(word) or (cut and _CUT.match(text, end)):
            pieces += (text[done : begin.start()], MASK)
            done = end
    return "".join((*pieces, text[done:]))


@functools.lru_cache(maxsize=1024)
def _beginning(word: str, escaped: bool) -> re.Pattern[str]:
    return re.compile("".join(_spelling(character, escaped).pattern for character in word[:SECRET]))


@functools.lru_cache(maxsize=1024)
def _spelling(character: str, escaped: bool) -> re.Pattern[str]:
    """``character`` as it is or, ``escaped``, as JSON (in JSON) and URLs may have it."""
    itself = re.escape(character)
    if not escaped or not character.isascii():
        return re.compile(itself)
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(character):02x}")
    behind = "" if character.isalnum() else r"\\{0,4}"
    return re.compile(rf"(?:{behind}{itself}|\\{{1,4}}u00{code}|%(?:25){{0,2}}{code})")


def _in_base64(word: str) -> Iterator[str]:
    """The characters of base64 that stand for ``word`` whatever stands around it: three ways, as it may begin in three
    places of a group. In both alphabets."""
    data = word.encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()
        form = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        yield form
        yield form.translate({ord("+"): "-", ord("/"): "_"})


def _signed_in(word: str) -> Iterator[str]:
    """User and password, where ``word`` is both of them as HTTP's Basic scheme has it."""
    try:
        said = base64.b64decode(word, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    user, colon, password = said.partition(":")
    if colon and said.isprintable():
        yield from (said, user, password)


def _in_bodies(request: LoadRequest) -> Iterator[str]:
    yield from named_secrets(request.extra)
    if request.requests is not None and request.requests.is_file():
        stamp = request.requests.stat()
        yield from _in_file(request.requests, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=8)
def _in_file(path: Path, _changed: int, _size: int) -> tuple[str, ...]:
    """The first so many."""
    found: dict[str, None] = {}
    with (
        contextlib.suppress(OSError, ValueError),  # whoever reads its requests says so
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        for member in _MEMBER.finditer(data):
            found[_decoded(member[1])] = None
            if len(found) == MOST:
                break
    return tuple(found)


def _decoded(text: bytes) -> str:
    try:
        return str(msgspec.json.decode(text))
    except NOT_JSON:
        return text.decode(errors="replace")[1:-1]
