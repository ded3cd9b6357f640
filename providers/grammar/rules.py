"""Rules, and the verdict on an answer that is held against them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import attrs

from streams.events import Api

Outcome: TypeAlias = Literal["complete", "failed", "cut"]
"""How an answer ended: well, with an error in the API's own form, or not at all."""

Finding: TypeAlias = tuple[str, str]
"""The id of a rule that is broken, and what was found instead."""


@attrs.frozen
class Rule:
    """One sentence of a grammar. ``waived`` names the real servers that do not keep to it ("" if all do): it does not
    bind in tolerant mode."""

    id: str
    text: str
    source: str = ""
    waived: str = ""


def table(*rules: Rule) -> Mapping[str, Rule]:
    return {rule.id: rule for rule in rules}


@attrs.frozen
class Violation:
    """The first rule that an answer breaks. ``event`` counts the stream's events from 1, comments included (0: the
    answer is whole, no stream); ``offset`` is the event's first byte, or for what is missing at the end, the length."""

    rule: str
    event: int
    offset: int
    found: str
    want: str
    source: str


@attrs.frozen
class Verdict:
    """The verdict of a judge. An answer that ends in an error of the right form is well formed, and ``failed``.

    ``waived`` are the ids of rules that were broken and do not bind in tolerant mode, each once."""

    api: Api
    streamed: bool
    outcome: Outcome
    events: int
    broken: Violation | None = None
    waived: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return self.broken is None


class Stream(Protocol):
    """The state of one stream. What it yields are findings, in order; it is taken further only if the caller goes on,
    so a caller that waives a rule simply takes the next one."""

    @property
    def position(self) -> str:
        """The stream's place in its state table."""
        ...

    def take(self, name: str | None, value: Any) -> Iterator[Finding]:
        """One event: its ``event:`` line (None if it has none) and its JSON, or the string ``[DONE]``."""
        ...

    def close(self) -> Iterator[Finding]:
        """Check the end of the stream."""
        ...


@attrs.frozen
class ReadEvent:
    """One event of a stream, taken out of its frame: its name (None if it has none), its value (None where there is
    nothing to take), and what is wrong with the frame."""

    name: str | None
    value: Any
    findings: tuple[Finding, ...] = ()


@attrs.frozen
class FrameFormat:
    """How events lie in bytes. ``split(body)`` are the raw events of a captured stream, the last of them perhaps only a
    part of one; ``read(raw)`` takes one out of its frame. Neither raises."""

    split: Callable[[bytes], list[bytes]]
    read: Callable[[bytes], ReadEvent]


class Grammar(Protocol):
    """One wire API's grammar: a module is one."""

    @property
    def RULES(self) -> Mapping[str, Rule]: ...

    @property
    def STATES(self) -> Mapping[str, Mapping[str, str]]: ...

    @property
    def FRAMES(self) -> FrameFormat: ...

    def stream(self, include_usage: bool | None) -> Stream: ...

    def outcome(self, value: Any) -> Outcome | None:
        """Return the stream's end, if ``value`` is the event that says so; ``None`` for all others. Of a whole body
        ``failed``, if it is an error."""
        ...

    def whole(self, value: Any) -> Iterator[Finding]:
        """Check an answer that is not streamed, or an error body."""
        ...


States: TypeAlias = Mapping[str, Mapping[str, str]]
"""A state machine: by state, the events that may come and the state that each leads to."""


def misplaced(table: Mapping[tuple[str, str], str], state: str, kind: str) -> Finding:
    """Return the rule that ``kind`` breaks by coming in ``state``; ``*`` stands for every kind that has no row."""
    return table.get((state, kind)) or table[state, "*"], f"{kind} in state {state}"
