"""Assembly of a call's arguments from pieces with JSON paths.

The gateway does not request them, but a client of the API may (Vertex AI, ``streamFunctionCallArguments``). Source:
``PartialArg`` of Vertex AI.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from providers.neutral.bounds import VALUE, Budget, check_length
from streams.errors import GatewayError
from streams.events import Event, ToolCallDelta

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_MAX_DEPTH: Final = 64
_WHAT: Final = "pieces of arguments"

_Step: TypeAlias = str | int


class _Pieces(list[str]):
    """A text that is still incomplete."""


class PartialArguments:
    """The arguments of one call so far."""

    __slots__ = ("_budget", "_holds_content", "_root")

    def __init__(self, budget: Budget, holds_content: bool) -> None:
        self._budget = budget
        self._holds_content = holds_content
        self._root: dict[str, Any] = {}

    def set_whole(self, args: Any) -> None:
        """Store arguments that the call's first part carries whole."""
        if isinstance(args, dict) and self._holds_content:
            self._root = dict(args)

    def add(self, pieces: Any) -> None:
        """Add the pieces of ``partialArgs``. Raises ``GatewayError`` for a path that does not exist."""
        if not self._holds_content or not isinstance(pieces, list):
            return
        for piece in check_length(pieces, _WHAT):
            if isinstance(piece, dict):
                path = _parse_path(piece.get("jsonPath"))
                text = piece.get("stringValue")
                self._budget.spend(VALUE * len(path) + (len(text) if isinstance(text, str) else VALUE), _WHAT)
                _insert_at(self._root, path, _piece_value(piece))

    def end_events(self, block: int) -> list[Event]:
        """Return the event with the whole arguments."""
        return (
            [ToolCallDelta(block, msgspec.json.encode(_join_pieces(self._root)).decode())]
            if self._holds_content
            else []
        )


def _parse_path(path: Any) -> list[_Step]:
    text = path if isinstance(path, str) else ""
    rest = text.removeprefix("$")
    steps: list[_Step] = []
    at = 0
    while at < len(rest) and (found := _STEP.match(rest, at)) is not None and len(steps) < _MAX_DEPTH:
        name, index, single, double = found.groups()
        steps.append(int(index) if index is not None else name or single or double or "")
        at = found.end()
    if at < len(rest) or not steps or not isinstance(steps[0], str):
        raise _bad_path_error(text)
    return steps


def _piece_value(piece: Mapping[str, Any]) -> Any:
    for member in ("numberValue", "boolValue"):
        if member in piece:
            return piece[member]
    text = piece.get("stringValue")
    return _Pieces((text,)) if isinstance(text, str) else None


def _insert_at(holder: Any, path: list[_Step], value: Any) -> None:
    for i, step in enumerate(path):
        last = i == len(path) - 1
        made = value if last else ({} if isinstance(path[i + 1], str) else [])
        if isinstance(step, str) and isinstance(holder, dict):
            found = holder.setdefault(step, made)
        elif isinstance(step, int) and isinstance(holder, list) and step <= len(holder):
            if step == len(holder):
                holder.append(made)
            found = holder[step]
        else:
            raise _bad_path_error(str(step))
        if last and found is not made:
            if isinstance(found, _Pieces) and isinstance(value, _Pieces):
                found.extend(value)
            else:
                holder[step] = value
        holder = found


def _join_pieces(value: Any) -> Any:
    match value:
        case _Pieces():
            return "".join(value)
        case list():
            return [_join_pieces(item) for item in value]
        case dict():
            return {name: _join_pieces(item) for name, item in value.items()}
    return value


def _bad_path_error(path: str) -> GatewayError:
    message = f"the provider sent a part of arguments with an invalid path ({path[:100]!r})"
    return GatewayError("upstream", message, reason="bad_answer")
