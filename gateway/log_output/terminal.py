"""The log for people at a terminal: one line per exchange, and a second one in case of trouble.

    09:41:07 200 messages→chat fast → openai/gpt-4o-mini     1234→567  $0.0021   2.31s stop

A request that missed the provider's prompt cache has a line with the cause. The JSON log has everything else
(``docs/log.md``)."""

import os
import re
import shlex
import textwrap
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final, TextIO

import attrs

from gateway.log_output import colours
from gateway.logs.masking import Mask, escape
from providers.errors.reasons import SHOWN_AT_DEBUG
from providers.neutral.hints import explain_path, losses

WIDEST: Final = 100
NARROWEST: Final = 72
"""The widest and narrowest line of an exchange in columns; between them, the terminal decides."""

SESSION: Final = 1800.0
"""Seconds without a loss after which it is shown again: a new session has begun."""

MOST_SHOWN: Final = 256
"""Losses that a printer remembers."""

LISTED: Final = 12
"""Losses that are listed, and as many hints; the JSON log has all."""

_INDENT: Final = " " * 9  # under the text after the time
_ENDED_WIDTH: Final = 15  # columns reserved for the end, so that the columns before it align
_NARROW_ENDED_WIDTH: Final = 10  # if the terminal has fewer columns than ``WIDEST``
_SECONDS_WIDTH: Final = 6
_COST_WIDTH: Final = 8

_ENDED: Final[Mapping[str, str]] = {
    "refused": "refused", "upstream_error": "provider failed", "client_disconnected": "client left",
    "shutdown": "shutdown", "internal_error": "internal error",
}  # fmt: skip

_GREEN, _YELLOW, _RED, _DIM = "32", "33", "31", "2"
_COLOURS: Final[Mapping[str, str]] = {"complete": _GREEN, "refused": _YELLOW, "client_disconnected": _YELLOW}
_LEVELS: Final[Mapping[str, str]] = {"warning": _YELLOW, "error": _RED, "critical": _RED}


@attrs.frozen(eq=False, repr=False)
class Printer:
    """A printer of lines for people, with or without ``colour``.

    ``columns`` returns the terminal's width, ``None`` without a terminal, where lines are not wrapped."""

    colour: bool = False
    columns: Callable[[], int | None] = lambda: None
    _shown: dict[tuple[str, ...], float] = attrs.field(factory=dict, init=False)
    """The losses shown, with the time of their last request, in this order."""

    @classmethod
    def of(cls, stream: TextIO) -> "Printer":
        """Return a printer for ``stream``, without colours if they are unwanted or it is no terminal."""
        return cls(not colours.are_unwanted(), partial(_width, stream)) if stream.isatty() else cls()

    def exchange(self, line: Mapping[str, Any], mask: Mask, keeps_errors: bool = False) -> str:
        """Return the text of an exchange's line, with fields as in ``Ledger.line``. ``keeps_errors``: ``trigate log``
        shows its error with the provider's own message."""
        how = _COLOURS.get(line["ended"], _RED)
        ended = ended_text(line)
        figures = f"{_tokens(line)} {_cost(line)}{_seconds(line['duration_ms'] / 1000):>{_SECONDS_WIDTH}}"
        columns = min(max(self.columns() or WIDEST, NARROWEST), WIDEST)
        room = columns - len(f"HH:MM:SS 200  {figures} ")
        middle = _apis_and_names(line, mask, room - len(ended))
        kept = _ENDED_WIDTH if columns == WIDEST else _NARROW_ENDED_WIDTH
        padding = " " * max(0, room - _columns(middle) - max(len(ended), kept))
        first = (
            f"{self._paint(_DIM, _clock(int(_unix_time(line['at']))))} {self._paint(how, str(line['status']))} "
            f"{middle}{padding} {figures} "
            f"{ended if how == _GREEN else self._paint(how, ended)}"
        )
        return "\n".join(
            (first, *self._fold(self._problems(line, mask, keeps_errors), how if how != _GREEN else _YELLOW))
        )

    def _problems(self, line: Mapping[str, Any], mask: Mask, keeps_errors: bool) -> str:
        """Return the error, failed attempts if there were several, losses that may have changed the answer, and a
        missed cache; empty without trouble."""
        parts = _error(line, keeps_errors), _attempts(line), self._new_losses(line), missed_cache_text(line)
        return escape(mask(". ".join(part for part in parts if part)))

    def _new_losses(self, line: Mapping[str, Any]) -> str:
        """Return the losses, unless they repeat those of the client's session: each of its requests may have them."""
        if not (text := _losses(line)):
            return ""
        key = (*(str(line.get(name)) for name in ("client", "project", "model", "target")), text)
        now = _unix_time(line["at"])
        before = self._shown.pop(key, -SESSION)
        self._shown[key] = now
        if len(self._shown) > MOST_SHOWN:
            del self._shown[next(iter(self._shown))]
        return text if now - before >= SESSION else ""

    def message(self, seconds: float, level: str, text: str) -> str:
        """Return any other line at a time in Unix seconds; each line of ``text`` gets time and level."""
        head = f"{self._paint(_DIM, _clock(int(seconds)))} {self._paint(_LEVELS.get(level), f'{level:7}')} "
        indent = " " * len("HH:MM:SS warning ")
        parts = (self._parts(escape(part), len(indent)) for part in text.splitlines() or [""])
        return "\n".join(head + f"\n{indent}".join(part) for part in parts)

    def _paint(self, colour: str | None, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colour and colour is not None else text

    def _fold(self, text: str, colour: str) -> list[str]:
        return [_INDENT + self._paint(colour, part) for part in self._parts(text, len(_INDENT)) if part]

    def _parts(self, text: str, indent: int) -> list[str]:
        """Return ``text`` wrapped for the terminal after an indent."""
        if (columns := self.columns()) is None or len(text) <= columns - indent:
            return [text]
        room = max(columns, NARROWEST) - indent
        return textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False)


# Parts of the line


def ended_text(line: Mapping[str, Any]) -> str:
    """Return the end of the exchange in a word or two; for success, the finish reason."""
    if line["ended"] == "complete":
        return str(line.get("reason", "done"))
    if line["ended"] == "upstream_error" and line["status"] < 400:
        return "cut off"
    return _ENDED[line["ended"]]


def _apis_and_names(line: Mapping[str, Any], mask: Mask, room: int) -> str:
    """Return the APIs and the model's names, with keys masked before truncation: clients mix up keys and names."""
    api, provider_api = line["api"], line.get("provider_api")
    apis = api if provider_api in (None, api) else f"{api}→{provider_api}"
    if api == "none":
        apis = "–"
    model_name, target = (escape(mask(line[name])) if name in line else None for name in ("model", "target"))
    names = _names(model_name, target, room - len(apis) - 1)
    return f"{apis} {names}"


def _names(model_name: str | None, target: str | None, room: int) -> str:
    if model_name is None or target is None:
        return _shorten(target or model_name or "", room)
    if target == model_name or target.endswith(f"/{model_name}"):
        return _shorten(target, room)
    arrow = " → "
    if _columns(model_name) + len(arrow) + _columns(target) > room:
        model_name = _shorten(model_name, max(room - len(arrow) - _columns(target), room // 3))
    return f"{model_name}{arrow}{_shorten(target, room - len(arrow) - _columns(model_name))}"


def _tokens(line: Mapping[str, Any]) -> str:
    if "input_tokens" not in line and "output_tokens" not in line:
        return ""
    about = "~" if line.get("usage_estimated") else ""
    if not line.get("input_tokens") and not line.get("output_tokens") and line.get("units"):
        return about + ", ".join(f"{_count(number)} {unit}" for unit, number in line["units"].items())
    return f"{about}{_count(line.get('input_tokens', 0))}→{_count(line.get('output_tokens', 0))}"


def _count(number: int) -> str:
    """Return a token count in at most five characters."""
    if number < 10_000:
        return str(number)
    if number < 10**6:
        return f"{number / 1000:.1f}k" if number < 10**5 else f"{number // 1000}k"
    return f"{number / 10**6:.1f}M"


def _cost(line: Mapping[str, Any]) -> str:
    """Return the cost, "" for none or an unknown one."""
    if not (usd := line.get("cost_usd")):
        return ""
    text = "<$0.0001" if usd < 0.00005 else f"${usd:.2f}" if usd >= 100 else f"${usd:.4f}"
    return f"{text:>{_COST_WIDTH}} "


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}s" if seconds < 100 else f"{seconds:.0f}s"


_CHANGED_AT: Final = re.compile(r"([^ :]+):([0-9]+-[0-9]+)(?: \((\w+)\))?")
"""The position of a change: path, characters, and the kind of the new text."""


def missed_cache_text(line: Mapping[str, Any]) -> str:
    """Return the tokens that the provider's prompt cache missed, with their cost and the cause.

    Unknown causes are omitted, because they suggest no change."""
    cause = str(line.get("prompt_cache_cause", ""))
    if not cause or cause.startswith("unknown"):
        return ""
    missed, could, usd = line["prompt_cache_missed"], line["prompt_cache_could"], line.get("prompt_cache_usd")
    about = "~" if line.get("prompt_cache_grade") == "estimated" else ""
    cost = "" if not usd else f", {about}{usd:.4f} usd"
    return f"prompt cache: {missed:,} of {could:,} tokens missed{cost}: {_reason(cause, line)}"


def _reason(cause: str, line: Mapping[str, Any]) -> str:
    at = str(line.get("prompt_cache_at", ""))
    if changed := _CHANGED_AT.fullmatch(at):
        path, characters, kind = changed.groups()
        return f"{path} changed at {characters}" + (f" (a {kind})" if kind else "")
    if cause == "expired" and "prompt_cache_idle_s" in line:
        return f"expired after {line['prompt_cache_idle_s']:,} s"
    if at and cause in ("tools", "system", "settings", "history"):
        return at  # which begins with the cause
    return f"{cause}, {at}" if at else cause


def _error(line: Mapping[str, Any], keeps_errors: bool) -> str:
    """Return the error with the ids to search for: the client's, and the provider's own."""
    if "error" not in line:
        return ""
    message = f": {' '.join(line['message'].split())}" if "message" in line else ""
    if keeps_errors:
        message = message.replace(SHOWN_AT_DEBUG, f"trigate log {shlex.quote(line['request_id'])} shows its message")
    return f"{line['error']}{message} {_ids(line)}"


def _ids(line: Mapping[str, Any]) -> str:
    return " ".join(f"[{line[name]}]" for name in ("request_id", "upstream_request_id") if line.get(name))


def _attempts(line: Mapping[str, Any]) -> str:
    """Return the attempts in order, as in ``x-trigate-tried``; error messages list them already."""
    tried = line.get("tried", ())
    if len(tried) < 2 or "message" in line:
        return ""
    return "tried " + ", ".join(f"{one['target']}={one['reason']}" for one in tried) + f" {_ids(line)}"


def _losses(line: Mapping[str, Any]) -> str:
    """Return the losses; hints alone are omitted, because they cannot change the answer."""
    own = str(line.get("operator") or "").split(",")
    dropped = [path for path in str(line.get("dropped") or "").split(",") if path not in own]
    if not (lost := losses(filter(None, dropped))):
        return ""
    hints = [path for path in dropped if path not in lost]
    and_hints = f"; hints: {_list_losses(hints)}" if hints else ""
    return f"not sent to the provider: {_list_losses(lost)}{and_hints}"


def _list_losses(paths: Sequence[str]) -> str:
    """Return the first losses in words: a client may send thousands of unknown members."""
    more = ("…",) if len(paths) > LISTED else ()
    return ", ".join((*map(explain_path, paths[:LISTED]), *more))


# Columns


def _width(stream: TextIO) -> int | None:
    """Return the terminal's current width; some report 0."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _columns(text: str) -> int:
    """Return the number of columns of ``text`` on a terminal."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _shorten(text: str, room: int) -> str:
    """Return ``text`` in ``room`` columns, shortened in the middle: model names differ at both ends."""
    if _columns(text) <= room:
        return text
    tail = max(room - 1, 0) // 2
    head = max(room - 1 - tail, 0)
    while head + tail and _columns(short := f"{text[:head]}…{text[len(text) - tail :]}") > room:
        head, tail = (head - 1, tail) if head > tail else (head, tail - 1)
    return short if head + tail else "…"


# Time


def _unix_time(at: str) -> float:
    """Return a moment in the ledger's format as Unix time."""
    return datetime.fromisoformat(at).timestamp()


@lru_cache(maxsize=2)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))
