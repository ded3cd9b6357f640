"""One exchange after its end: what every figure, line and condition is made of."""

from typing import Final, Literal, TypeAlias

import attrs

from loadtest.plan.load_endpoints import LoadApi

Phase: TypeAlias = Literal["turn", "connect", "send", "first byte", "first token", "stream"]
"""What was waited for when an exchange failed; ``turn`` is that of a cap, ``stream`` all behind the first token."""

Manner: TypeAlias = Literal["reads", "reads slowly", "cancels"]
"""How a client behaves."""

End: TypeAlias = Literal["whole", "cancelled", "error", "unfinished", "interrupted"]
"""How an exchange counts. ``unfinished`` was under way when even the grace was over, ``interrupted`` at Ctrl-C."""

GAVE_UP = frozenset(("timeout", "unfinished", "expired", "stalled"))
"""Problems that end a wait: what had not come by then was waited for all the same."""

_SEVERAL: Final = 5  # tokens
_QUICK: Final = 0.0005  # seconds for each
_AT_END: Final = 0.05  # of the time from the begin


@attrs.frozen
class Problem:
    """The reason why an exchange counts as an error. ``kind`` is one of few; ``detail`` is what the server or the
    system said."""

    kind: str
    phase: Phase
    detail: str = ""


@attrs.frozen
class AnswerTokens:
    """Tokens as an answer's usage counts them; ``None`` where it does not say. ``output`` has ``reasoning`` in it, and
    ``input`` has ``cached``."""

    input: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cached: int | None = None


@attrs.frozen
class ExchangeRecord:
    """An exchange that has ended. Times are seconds from the begin of what counts, negative in the warm-up; ``None`` is
    what never came.

    ``number`` is that of its session in the plan, ``turn`` its place in that, ``step`` the step of the plan. It was
    ``planned`` to begin, had to wait ``queued`` seconds for others of ours, ``began``, took ``connected`` seconds to
    connect (``None`` on a connection that was there) and was ``sent``. ``contents`` are the events that show
    generation, of any channel, and ``first_output`` the first of them that is not reasoning. ``end_event`` is the API's
    own, ``ended`` when nothing more was read. ``usage``: the answer counts its tokens itself.

    ``asked_input`` and ``asked_output`` are tokens, as far as they were asked for; ``characters`` are those of a prompt
    that was made for it. ``route`` has the headers by which a gateway says where the answer came from, ``retry_after``
    the seconds that it asks to wait. ``waived`` are rules of the grammar that it breaks as many do. ``left_open``: the
    answer ended by its API and not by HTTP, for which nobody waited."""

    number: int
    request: str
    api: LoadApi
    streamed: bool
    manner: Manner
    turn: int
    step: int
    planned: float
    queued: float
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
    asked_output: int | None
    finish: str
    request_id: str
    route: tuple[tuple[str, str], ...]
    resent: bool
    version: str
    events: int
    reads: int
    received: int
    waived: tuple[str, ...]
    characters: int | None = None
    retry_after: float | None = None
    left_open: bool = False

    @property
    def counts(self) -> bool:
        """It is no part of the warm-up."""
        return self.planned >= 0

    @property
    def gave_up(self) -> float | None:
        """When we stopped waiting for what had not come."""
        return self.ended if self.problem is not None and self.problem.kind in GAVE_UP else None

    @property
    def output_tokens(self) -> int:
        """By the usage, if that says anything; else the events with content."""
        return self.tokens.output or len(self.contents)

    @property
    def short(self) -> bool:
        """It is whole and, by its own count, not as long as asked for."""
        counted, asked = self.tokens.output, self.asked_output
        return self.end == "whole" and counted is not None and asked is not None and counted < asked

    @property
    def buffered(self) -> bool:
        """It is a stream of several tokens that came all at its end, quicker than any server makes them: something
        held them back."""
        if not (self.streamed and self.end == "whole" and self.contents):
            return False
        first, last = self.contents[0], self.end_event or self.ended
        tokens = max(len(self.contents), self.output_tokens)
        at_end = last - first <= _AT_END * (last - self.began)
        return tokens >= _SEVERAL and at_end and last - first <= _QUICK * tokens

    @property
    def shows_reasoning(self) -> bool:
        return bool(self.contents) and self.first_output != self.contents[0]

    @property
    def tokens_seen(self) -> int:
        """Without the reasoning that nobody was shown."""
        hidden = 0 if self.shows_reasoning else self.tokens.reasoning or 0
        seen = self.output_tokens - hidden
        return seen if seen > 0 else len(self.contents)
