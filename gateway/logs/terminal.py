"""The log for people at a terminal: a line for each exchange that is read at a glance, a second one only for trouble.

    09:41:07 200 messages→chat fast → openai/gpt-4o-mini             1234→567   2.31s stop

All that is left out here is in the JSON log (``docs/log.md``).
"""

import calendar
import os
import textwrap
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TextIO

import attrs

from gateway.logs.masking import Mask, escaped
from providers.neutral.hints import in_words, losses

EXCHANGES: Final = "trigate.exchange"
"""The logger of exchanges: its lines come as they are to be."""

WIDEST: Final = 100
NARROWEST: Final = 72
"""Columns of an exchange's line; between the two it has those of the terminal."""

LISTED: Final = 12
"""Losses that are named, and as many hints: the JSON log has more."""

_INDENT: Final = " " * 9  # below what stands behind the time
_ENDED_WIDTH: Final = 15  # columns that are kept for how it ended, so that those before it stay in line
_NARROW_ENDED_WIDTH: Final = 10  # where there are fewer than ``WIDEST``
_SECONDS_WIDTH: Final = 6

_ENDED: Final[Mapping[str, str]] = {
    "refused": "refused", "upstream_error": "provider failed", "client_disconnected": "client left",
    "shutdown": "shutdown", "internal_error": "internal error",
}  # fmt: skip

_GREEN, _YELLOW, _RED, _DIM = "32", "33", "31", "2"
_COLOURS: Final[Mapping[str, str]] = {"complete": _GREEN, "refused": _YELLOW, "client_disconnected": _YELLOW}
_LEVELS: Final[Mapping[str, str]] = {"warning": _YELLOW, "error": _RED, "critical": _RED}


@attrs.frozen
class Printer:
    """A printer of lines for people: in ``colour`` or not; ``columns`` gives those of the terminal, ``None`` where
    there is none and nothing is folded."""

    colour: bool = False
    columns: Callable[[], int | None] = lambda: None

    @classmethod
    def of(cls, stream: TextIO) -> "Printer":
        """Without colours for ``NO_COLOR`` (https://no-color.org), a dumb terminal, and what is no terminal."""
        if not stream.isatty():
            return cls()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(not plain, partial(_width, stream))

    def exchange(self, line: Mapping[str, Any], mask: Mask) -> str:
        """The fields of an exchange's line, as ``Ledger.line`` has them."""
        how = _COLOURS.get(line["ended"], _RED)
        ended = _ended(line)
        figures = f"{_tokens(line)} {_seconds(line['duration_ms'] / 1000):>{_SECONDS_WIDTH}}"
        columns = min(max(self.columns() or WIDEST, NARROWEST), WIDEST)
        room = columns - len(f"HH:MM:SS 200  {figures} ")
        middle = _middle(line, mask, room - len(ended))
        kept = _ENDED_WIDTH if columns == WIDEST else _NARROW_ENDED_WIDTH
        padding = " " * max(0, room - _columns(middle) - max(len(ended), kept))
        first = (
            f"{self._in(_DIM, _local(line['at']))} {self._in(how, str(line['status']))} {middle}{padding} {figures} "
            f"{ended if how == _GREEN else self._in(how, ended)}"
        )
        return "\n".join((first, *self._folded(_trouble(line, mask), how if how != _GREEN else _YELLOW)))

    def message(self, seconds: float, level: str, text: str) -> str:
        """Any other line, of a moment in Unix seconds. Each line of ``text`` has its time and level."""
        head = f"{self._in(_DIM, _clock(int(seconds)))} {self._in(_LEVELS.get(level), f'{level:7}')} "
        indent = " " * len("HH:MM:SS warning ")
        parts = (self._parts(escaped(part), len(indent)) for part in text.splitlines() or [""])
        return "\n".join(head + f"\n{indent}".join(part) for part in parts)

    def _in(self, colour: str | None, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colour and colour is not None else text

    def _folded(self, text: str, colour: str) -> list[str]:
        return [_INDENT + self._in(colour, part) for part in self._parts(text, len(_INDENT)) if part]

    def _parts(self, text: str, indent: int) -> list[str]:
        """``text`` as it is folded on a terminal, behind an indent."""
        if (columns := self.columns()) is None or len(text) <= columns - indent:
            return [text]
        room = max(columns, NARROWEST) - indent
        return textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False)


# The parts of the line


def _ended(line: Mapping[str, Any]) -> str:
    """The exchange's end in a word or two; of a good end the reason."""
    if line["ended"] == "complete":
        return str(line.get("reason", "done"))
    if line["ended"] == "upstream_error" and line["status"] < 400:
        return "cut off"
    return _ENDED[line["ended"]]


def _middle(line: Mapping[str, Any], mask: Mask, room: int) -> str:
    """The APIs and the names of the model. They may have the keys that a client has mixed up with a name: these are
    looked for in all of it, not in what is left when it has been shortened."""
    api, provider_api = line["api"], line.get("provider_api")
    apis = api if provider_api in (None, api) else f"{api}→{provider_api}"
    if api == "none":
        apis = "–"
    asked, target = (escaped(mask(line[name])) if name in line else None for name in ("model", "target"))
    names = _names(asked, target, room - len(apis) - 1)
    return f"{apis} {names}"


def _names(asked: str | None, target: str | None, room: int) -> str:
    if asked is None or target is None:
        return _shortened(target or asked or "", room)
    if target == asked or target.endswith(f"/{asked}"):
        return _shortened(target, room)
    arrow = " → "
    if _columns(asked) + len(arrow) + _columns(target) > room:
        asked = _shortened(asked, max(room - len(arrow) - _columns(target), room // 3))
    return f"{asked}{arrow}{_shortened(target, room - len(arrow) - _columns(asked))}"


def _tokens(line: Mapping[str, Any]) -> str:
    if "input_tokens" not in line and "output_tokens" not in line:
        return ""
    about = "~" if line.get("usage_estimated") else ""
    if not line.get("input_tokens") and not line.get("output_tokens") and line.get("units"):
        return about + ", ".join(f"{_count(number)} {unit}" for unit, number in line["units"].items())
    return f"{about}{_count(line.get('input_tokens', 0))}→{_count(line.get('output_tokens', 0))}"


def _count(number: int) -> str:
    """At most five characters, of a number that is a prompt's."""
    if number < 10_000:
        return str(number)
    if number < 10**6:
        return f"{number / 1000:.1f}k" if number < 10**5 else f"{number // 1000}k"
    return f"{number / 10**6:.1f}M"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}s" if seconds < 100 else f"{seconds:.0f}s"


def _trouble(line: Mapping[str, Any], mask: Mask) -> str:
    """The error, the attempts that failed where there were several, and what was lost that may have changed the answer;
    nothing for an exchange that was good at once."""
    return escaped(mask(". ".join(part for part in (_error(line), _attempts(line), _lost(line)) if part)))


def _error(line: Mapping[str, Any]) -> str:
    """With the id that helps to find more: in this log of a mistake of ours, at the provider of one of its own."""
    if "message" not in line:
        return ""
    id = line["request_id"] if line["ended"] == "internal_error" else line.get("upstream_request_id")
    return f"{line['error']}: {' '.join(line['message'].split())}{f' [{id}]' if id else ''}"


def _attempts(line: Mapping[str, Any]) -> str:
    """The attempts in order, as ``x-trigate-tried`` has them; an error's message names them itself."""
    tried = line.get("tried", ())
    if len(tried) < 2 or "message" in line:
        return ""
    return "tried " + ", ".join(f"{one['target']}={one['reason']}" for one in tried)


def _lost(line: Mapping[str, Any]) -> str:
    """A hint alone is no trouble: it cannot change the answer."""
    dropped = str(line.get("dropped") or "").split(",")
    if not (lost := losses(filter(None, dropped))):
        return ""
    hints = [path for path in dropped if path not in lost]
    and_hints = f"; hints: {_listed(hints)}" if hints else ""
    return f"not carried to the provider: {_listed(lost)}{and_hints}"


def _listed(paths: Sequence[str]) -> str:
    """The first of them, in words: a client may send thousands of members that nobody knows."""
    more = ("…",) if len(paths) > LISTED else ()
    return ", ".join((*map(in_words, paths[:LISTED]), *more))


# Columns


def _width(stream: TextIO) -> int | None:
    """The width of the terminal at this moment; some say 0."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _columns(text: str) -> int:
    """The columns that a terminal takes for ``text``."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _shortened(text: str, room: int) -> str:
    """``text`` in ``room`` columns, its middle left out: a model's name differs at both ends."""
    if _columns(text) <= room:
        return text
    tail = max(room - 1, 0) // 2
    head = max(room - 1 - tail, 0)
    while head + tail and _columns(short := f"{text[:head]}…{text[len(text) - tail :]}") > room:
        head, tail = (head - 1, tail) if head > tail else (head, tail - 1)
    return short if head + tail else "…"


# Time


def _local(at: str) -> str:
    """The local time of a moment as the ledger writes it."""
    return _clock(calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ")))


@lru_cache(maxsize=2)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))
