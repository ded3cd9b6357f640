"""The record of one exchange, from which all figures, log lines and conditions are computed."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import attrs

from streams.events import Api

Phase: TypeAlias = Literal["connect", "send", "first byte", "first token", "stream"]
"""The step in which an exchange failed. ``stream`` is everything after the first token."""

End: TypeAlias = Literal["whole", "cancelled", "error", "unfinished", "interrupted"]
"""The kinds of end. ``unfinished`` was under way after the grace period, ``interrupted`` at Ctrl-C."""

GAVE_UP: Final = frozenset(("timeout", "unfinished"))
"""Problems that end a wait. They count as waits of at least that long."""


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


@attrs.define(kw_only=True)
class ExchangeRecord:
    """An exchange, complete when it was judged. Times are seconds from the begin of the measurement, negative in the
    warm-up, ``None`` if the event never happened.

    ``number`` is the request's number in the plan. ``planned`` is the planned begin and ``began`` the real one.
    ``connected`` is the seconds to connect, ``None`` on an open connection. ``contents`` are the times of events with
    generated content. ``end_event`` is the time of the API's end event, ``ended`` when reading stopped.

    ``waived`` are broken rules of the grammar that many servers break.
    """

    number: int = 0
    api: Api
    streamed: bool
    planned: float
    began: float
    connected: float | None = None
    sent: float | None = None
    first_byte: float | None = None
    first_event: float | None = None
    contents: list[float] = attrs.field(factory=list)
    end_event: float | None = None
    ended: float = 0.0
    status: int = 0
    end: End = "interrupted"
    problem: Problem | None = None
    tokens: AnswerTokens = AnswerTokens()
    finish: str = ""
    request_id: str = ""
    resent: bool = False
    waived: Sequence[str] = ()

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
