"""The record of one finished exchange, from which all figures, log lines and conditions are computed."""

from typing import Final, Literal, TypeAlias

import attrs

from streams.events import Api

Phase: TypeAlias = Literal["connect", "send", "first byte", "first token", "stream"]
"""The step in which an exchange failed. ``stream`` is everything after the first token."""

End: TypeAlias = Literal["whole", "cancelled", "error", "unfinished", "interrupted"]
"""The kinds of end. ``unfinished`` was under way after the grace period, ``interrupted`` at Ctrl-C."""

GAVE_UP: Final = frozenset(("timeout", "unfinished"))
"""Problems that end a wait. They count as waits of at least that long."""

_SEVERAL: Final = 5  # tokens
_QUICK: Final = 0.0005  # seconds for each
_AT_END: Final = 0.05  # of the time from the begin


@attrs.frozen
class Problem:
    """The reason why an exchange counts as an error.

    ``kind`` is one of few values; ``detail`` is the text from the server or the system.
    """

    kind: str
    phase: Phase
    detail: str = ""


@attrs.frozen
class AnswerTokens:
    """The token counts in an answer's usage, ``None`` if absent.

    ``output`` includes ``reasoning``, ``input`` includes ``cached``.
    """

    input: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cached: int | None = None


@attrs.frozen(kw_only=True)
class ExchangeRecord:
    """A finished exchange. Times are seconds from the begin of the measurement, negative in the warm-up, ``None`` if
    the event never happened.

    ``number`` is the request's number in the plan. ``planned`` is the planned begin and ``began`` the real one.
    ``connected`` is the seconds to connect, ``None`` on an open connection. ``contents`` are the times of events with
    generated content, and ``first_output`` is the first of them that is not reasoning. ``end_event`` is the time of the
    API's end event, ``ended`` when reading stopped.

    ``asked_input`` is the requested length of a made prompt. ``route`` has the headers in which a gateway reports its
    target. ``waived`` are broken rules of the grammar that many servers break. ``left_open`` means that the answer had
    its end event but HTTP did not end.
    """

    number: int
    api: Api
    streamed: bool
    leaves: bool = False
    planned: float
    began: float
    connected: float | None
    sent: float | None
    first_byte: float | None
    first_event: float | None
    contents: tuple[float, ...]
    first_output: float | None
    end_event: float | None
    ended: float
    status: int
    end: End
    problem: Problem | None
    tokens: AnswerTokens
    asked_input: int | None
    finish: str
    request_id: str
    route: tuple[tuple[str, str], ...]
    resent: bool
    reads: int
    received: int
    waived: tuple[str, ...]
    left_open: bool = False

    @property
    def is_counted(self) -> bool:
        """It is no part of the warm-up."""
        return self.planned >= 0

    @property
    def gave_up_at(self) -> float | None:
        """The time when the client stopped waiting, or ``None`` if it did not."""
        return self.ended if self.problem is not None and self.problem.kind in GAVE_UP else None

    @property
    def output_tokens(self) -> int:
        """The output tokens by the usage, or else the number of events with content."""
        return self.tokens.output or len(self.contents)

    @property
    def is_buffered(self) -> bool:
        """True for a stream of several tokens that all arrived at its end, faster than any server generates.

        Something between buffers it.
        """
        if not (self.streamed and self.end == "whole" and self.contents):
            return False
        first, last = self.contents[0], self.end_event or self.ended
        tokens = max(len(self.contents), self.output_tokens)
        at_end = last - first <= _AT_END * (last - self.began)
        return tokens >= _SEVERAL and at_end and last - first <= _QUICK * tokens

    @property
    def tokens_seen(self) -> int:
        """The output tokens without hidden reasoning."""
        shows_reasoning = bool(self.contents) and self.first_output != self.contents[0]
        hidden = 0 if shows_reasoning else self.tokens.reasoning or 0
        seen = self.output_tokens - hidden
        return seen if seen > 0 else len(self.contents)
