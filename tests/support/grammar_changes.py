"""Good answers of an API and changes that break its grammar, for ``grammar_chat.py`` and the other modules."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs

from streams import sse
from streams.events import Api

Events: TypeAlias = list[Any]
"""The values of a stream's events: of Chat also ``"[DONE]"``, of Converse pairs of a name and a value."""

Change: TypeAlias = Callable[[Any], Any]
"""Changes a copy of a good stream's events, or of a good whole answer."""


@attrs.frozen
class GrammarCase:
    """Well-formed answers of one API, and changes with the rule that each breaks."""

    api: Api
    stream: Events
    whole: Any
    error: Any
    """The body of an error response."""
    failed: Change
    """Makes a stream that ends in an error of the right form."""
    frames: Callable[[Events], list[bytes]]
    """Returns the bytes of each event."""
    broken: Sequence[tuple[str, Change]]
    broken_wholes: Sequence[tuple[str, Change]]
    broken_bodies: Callable[[list[bytes]], Sequence[tuple[str, bytes]]]
    """Returns bodies that break a rule, made of the frames of the good stream."""
    half_said: Change | None = None
    """Makes a stream that ends early, for a good reason, in the middle of a call's arguments."""

    def wire(self, events: Events) -> bytes:
        return b"".join(self.frames(events))


def sse_frames(api: str, events: Events) -> list[bytes]:
    """Return each event as a server-sent event, numbered where the API numbers them."""
    return [_frame(api, value, number) for number, value in enumerate(events)]


def _frame(api: str, value: Any, number: int) -> bytes:
    if value == "[DONE]":
        return b"data: [DONE]\n\n"
    if api == "gemini":
        return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"
    if api == "chat":
        return sse.data(value)
    return sse.event(value["type"], {"sequence_number": number, **value} if api == "responses" else value)


def with_other_first_line(frames: list[bytes], line: bytes) -> bytes:
    """Return a stream whose fifth event begins with ``line`` in place of its own first line."""
    return b"".join([*frames[:4], line + frames[4].partition(b"\n")[2], *frames[5:]])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside ``value``, for ``set_value``."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [found for step, inner in steps for found in ((*path, step), *places(inner, (*path, step)))]


def set_value(*path: Any) -> Change:
    """Return a change that sets a value: ``path`` leads to it, and its last element is the new value."""
    return lambda value: _edit(value, path[:-2], lambda inner: inner.__setitem__(path[-2], path[-1]))


def remove_value(*path: Any) -> Change:
    """Return a change that removes the value at ``path``."""
    return lambda value: _edit(value, path[:-1], lambda inner: inner.__delitem__(path[-1]))


def _edit(value: Any, way: Sequence[Any], edit: Callable[[Any], None]) -> Any:
    inner = value
    for step in way:
        inner = inner[step]
    edit(inner)
    return value


def insert_events(index: int, *events: Any) -> Change:
    """Return a change that inserts ``events`` before the event ``index``."""
    return lambda value: [*value[:index], *events, *value[index:]]


def replace_events_from(index: int, *events: Any) -> Change:
    """Return a change that replaces all events from ``index`` on by ``events``."""
    return lambda value: [*value[:index], *events]


def remove_events(first: int, last: int) -> Change:
    """Return a change that removes the events from ``first`` up to ``last``."""
    return lambda value: [*value[:first], *value[last:]]


def apply_all(*changes: Change) -> Change:
    """Return a change that applies ``changes`` in turn."""

    def change(value: Any) -> Any:
        for one in changes:
            value = one(value)
        return value

    return change
