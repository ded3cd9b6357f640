"""Rules, streams and verdicts, which all grammars share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import attrs

from streams.events import Api

Outcome: TypeAlias = Literal["complete", "failed", "cut"]
"""The end of an answer: complete, failed with an error in the API's format, or cut off."""

Finding: TypeAlias = tuple[str, str]
"""The id of a broken rule, with the wrong value."""


@attrs.frozen
class Rule:
    """One rule of a grammar.

    ``waived`` names the real servers that break it ("" for none); tolerant mode then ignores it.
    """

    id: str
    text: str
    source: str = ""
    waived: str = ""


def table(*rules: Rule) -> Mapping[str, Rule]:
    return {rule.id: rule for rule in rules}


@attrs.frozen
class Violation:
    """The first rule that an answer breaks.

    ``event`` counts the stream's events from 1, comments included (0: a whole answer). ``offset`` is the event's first
    byte, or the length if something is missing at the end.
    """

    rule: str
    event: int
    offset: int
    found: str
    want: str
    source: str


@attrs.frozen
class Verdict:
    """The verdict of a judge.

    An answer that ends with a well-formed error is well formed, and ``failed``. ``waived`` are the ids of broken rules
    that tolerant mode ignores, each once.
    """

    api: Api
    streamed: bool
    outcome: Outcome
    events: int
    broken: Violation | None = None
    waived: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return self.broken is None


States: TypeAlias = Mapping[str, Mapping[str, str]]
"""A state machine: by state, the allowed events and the state that each leads to."""


class Stream(ABC):
    """The state of one stream, with its ``position`` in the state machine ``states`` of its API.

    It yields findings in order and advances only if the caller continues, so a caller can waive a rule and take the
    next finding. ``misplaced`` has the rules that an event breaks which its state does not list, ``end_rule`` is the
    one of a stream that ends in another state than ``ends``. ``include_usage`` is whether a Chat client requested
    usage, ``None`` if unknown; the other APIs have no option for it.
    """

    states: ClassVar[States]
    misplaced: ClassVar[Mapping[tuple[str, str], str]]
    end_rule: ClassVar[str]
    ends: ClassVar[tuple[str, ...]] = ("complete", "failed")
    position = "start"
    include_usage: bool | None = None

    @abstractmethod
    def check_event(self, name: str | None, value: Any) -> Iterator[Finding]:
        """Check one event: its ``event:`` line (or None) and its JSON, or the string ``[DONE]``."""

    def check_end(self) -> Iterator[Finding]:
        if self.position not in self.ends:
            yield self.end_rule, f"the stream ends in state {self.position}"

    def check_order(self, kind: str) -> Iterator[Finding]:
        if kind in self.states[self.position]:
            self.position = self.states[self.position][kind]
        else:
            yield order_violation(self.misplaced, self.position, kind)


def order_violation(table: Mapping[tuple[str, str], str], state: str, kind: str) -> Finding:
    """Return the rule that ``kind`` breaks in ``state``; the row ``*`` applies to all other kinds."""
    return table.get((state, kind)) or table[state, "*"], f"{kind} in state {state}"


@attrs.frozen
class ReadEvent:
    """One event of a stream: its name (or None), its value (None if unreadable or empty), and the errors in
    its frame."""

    name: str | None
    value: Any
    findings: tuple[Finding, ...] = ()


@attrs.frozen
class FrameFormat:
    """A framing of events.

    ``split(body)`` returns the raw events of a captured stream, the last one possibly incomplete; ``read(raw)`` parses
    one. Neither raises.
    """

    split: Callable[[bytes], list[bytes]]
    read: Callable[[bytes], ReadEvent]


class Grammar(Protocol):
    """The grammar of one wire API; each is a module."""

    @property
    def RULES(self) -> Mapping[str, Rule]: ...

    @property
    def STATES(self) -> States: ...

    @property
    def FRAMES(self) -> FrameFormat: ...

    @property
    def STREAM(self) -> Callable[[], Stream]: ...

    def outcome(self, value: Any) -> Outcome | None:
        """Return the stream's outcome if ``value`` is an event that determines it, else ``None``.

        For a whole body returns ``failed`` if it is an error.
        """

    def whole(self, value: Any) -> Iterator[Finding]:
        """Check an answer that is not streamed, or an error body."""
