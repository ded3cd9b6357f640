"""The events of an answer, the same for every API.

A reader turns a provider's bytes into events, a writer turns events into the client's bytes. The order is:
``AnswerStart``, any number of block events, any number of ``Usage`` events (the last one counts), and finally one
``AnswerEnd`` or ``ErrorInfo``.

The reader numbers blocks in the order in which they open: 0, 1, 2, … A block opens with its first event (``TextDelta``,
``ReasoningDelta``, ``RefusalDelta``, ``ReasoningState`` or ``ToolCallStart`` with a new number) and never reopens after
its ``BlockEnd``. Tool calls may interleave, as Chat's do; at most one other block is open at a time. A reader closes
every block before ``AnswerEnd``; after ``ErrorInfo`` blocks may remain open.

The most frequent events are structs of msgspec, which C code constructs.
"""

from collections import Counter
from typing import Any, Literal, TypeAlias, TypeVar

import attrs
import msgspec

Api: TypeAlias = str
"""The name of a wire API registered in ``providers/apis.py``."""
APIS: tuple[Api, ...] = ("chat", "messages", "responses", "gemini", "converse", "interactions")
"""The wire APIs that provider rows, configurations and documentation tables refer to."""

Reason: TypeAlias = Literal["stop", "stop_sequence", "length", "tool_calls", "refusal", "pause", "context_exceeded"]
"""The reason why an answer ended. ``refusal`` includes Chat's ``content_filter``; ``pause`` is Messages'
``pause_turn``."""

ToolKind: TypeAlias = Literal["function", "custom"]
"""``function`` tools take a JSON object, ``custom`` tools (OpenAI's) take free text."""

ErrorKind: TypeAlias = Literal[
    "invalid_request", "authentication", "billing", "permission", "not_found", "too_large", "rate_limited",
    "overloaded", "upstream", "timeout", "unsupported", "internal",
]  # fmt: skip

STATUS: dict[ErrorKind, int] = {
    "invalid_request": 400,
    "authentication": 401,
    "billing": 402,
    "permission": 403,
    "not_found": 404,
    "too_large": 413,
    "rate_limited": 429,
    "overloaded": 503,
    "upstream": 502,
    "timeout": 504,
    "unsupported": 501,
    "internal": 500,
}

FailureReason: TypeAlias = Literal[
    "rate_limited", "quota", "overloaded", "server_error", "timeout", "connection", "bad_answer", "credential", "gone",
    "context_too_long", "content_filter", "invalid",
]  # fmt: skip
"""The reason why an attempt failed, finer than ``ErrorKind``; routing decides by it."""

UNAVAILABLE: frozenset[FailureReason] = frozenset(
    ("rate_limited", "quota", "overloaded", "server_error", "timeout", "connection", "bad_answer", "credential", "gone")
)
"""The reasons that concern the target rather than the request."""

FAILURE_REASON: dict[ErrorKind, FailureReason | None] = {
    "invalid_request": "invalid",
    "authentication": "credential",
    "billing": "quota",
    "permission": "credential",
    "not_found": "gone",
    "too_large": "invalid",
    "rate_limited": "rate_limited",
    "overloaded": "overloaded",
    "upstream": "server_error",
    "timeout": "timeout",
    "unsupported": "invalid",
    "internal": None,
}
"""The default reason for each kind of error."""


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class AnswerStart:
    """The start of an answer. ``id`` and ``model`` come from the provider, or are "" if it sends none."""

    id: str = ""
    model: str = ""
    created: int | None = None  # Unix seconds


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of visible text, never empty.

    ``logprobs`` are the log probabilities of its tokens, if requested: a list of objects ``{token, logprob, bytes,
    top_logprobs}``, as in Chat and Responses. ``phase`` (``commentary`` or ``final_answer``) is set on the first piece
    of a block by Responses only.
    """

    block: int
    text: str
    logprobs: Any = None
    phase: str | None = None


class RefusalDelta(msgspec.Struct, frozen=True):
    """A piece of the model's refusal (``message.refusal``, a ``refusal`` part), never empty."""

    block: int
    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """A piece of visible reasoning, never empty."""

    block: int
    text: str


@attrs.frozen
class ReasoningState:
    """The state of a reasoning block that the provider requires back on the next turn, in the format of ``api``.

    ``item`` is a JSON value: a Messages ``thinking`` or ``redacted_thinking`` block, a Responses ``reasoning`` item, or
    for Chat ``{"reasoning_details": [...]}`` or ``{"field": NAME}``. NAME is the member that carried the reasoning
    (``reasoning_content``, ``reasoning``, ``content``); its text is in the ``ReasoningDelta`` events. A block has at
    most one, after its ``ReasoningDelta`` events and before its ``BlockEnd``.
    """

    block: int
    api: Api
    item: Any


@attrs.frozen
class Citation:
    """A citation of the open text block: a JSON object in the format of ``api``."""

    block: int
    api: Api
    item: Any


@attrs.frozen
class ToolCallStart:
    """The start of a call of one of the client's tools. ``id`` is not empty and is unique in the answer."""

    block: int
    id: str
    name: str
    kind: ToolKind = "function"


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of the arguments of a tool call; the pieces of a block add up to the text that the model wrote."""

    block: int
    text: str


@attrs.frozen
class NativeItem:
    """A whole item that only its own API can express, such as a server tool's result. Opens and closes its block."""

    block: int
    api: Api
    kind: str
    item: Any


@attrs.frozen
class BlockEnd:
    """The end of a block."""

    block: int


@attrs.frozen(slots=False)  # with slots each member is set by a call, and this is made for each event that counts
class Usage:
    """The token counts of the exchange so far; the last ``Usage`` of an answer is final.

    ``input`` excludes tokens read from or written to a cache; ``output`` includes ``reasoning``.

    The other members only affect the price. They do not take part in comparisons, and only ``tier``, the service tier
    that the provider reports, and the number of web searches in ``calls`` are sent to clients of another API.
    ``calls`` is the number of runs of each of its own tools, ``reported_nanos`` the cost that it reports, in
    nano-dollars. ``steps`` are the model turns of this answer, if the provider lists them; then only their tokens are
    billed, and the counts above are not added. ``units`` are other billed quantities by name (``search``, ``image``,
    ``second``, ``character``) and the media tokens within the counts above (``input_audio_token`` and the like).
    ``estimated`` means that the counts were derived from the request. ``reports_cache_read`` means that the provider
    sent a count of tokens read from a cache, perhaps 0.
    ``cache_diagnosis`` is the provider's own word for the cause of a miss of its prompt cache, if it was requested.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_5m: int | None = None  # parts of cache_write by lifetime, None if not reported; OpenAI's 30 minutes
    cache_write_1h: int | None = None  # or OpenAI's 12 hours
    output: int = 0
    reasoning: int | None = None
    tier: str | None = attrs.field(default=None, eq=False)
    calls: tuple[tuple[str, int], ...] = attrs.field(default=(), eq=False)
    reported_nanos: int | None = attrs.field(default=None, eq=False)
    steps: tuple["UsageStep", ...] = attrs.field(default=(), eq=False)
    units: tuple[tuple[str, int], ...] = attrs.field(default=(), eq=False)
    estimated: bool = attrs.field(default=False, eq=False)
    reports_cache_read: bool = attrs.field(default=False, eq=False)
    cache_diagnosis: str | None = attrs.field(default=None, eq=False)

    @property
    def prompt(self) -> int:
        """The number of all input tokens, as the OpenAI APIs count them."""
        return self.input + self.cache_read + self.cache_write

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum of tokens, calls and units, without the tier, steps and reported cost of either."""
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            cache_write_5m=_sum_counts(self.cache_write_5m, other.cache_write_5m),
            cache_write_1h=_sum_counts(self.cache_write_1h, other.cache_write_1h),
            output=self.output + other.output,
            reasoning=_sum_counts(self.reasoning, other.reasoning),
            calls=_sum_by_name(self.calls, other.calls),
            units=_sum_by_name(self.units, other.units),
            estimated=self.estimated or other.estimated,
            reports_cache_read=self.reports_cache_read or other.reports_cache_read,
        )

    @property
    def fallback_model(self) -> str | None:
        """The model that answered after the requested one had declined, if the provider lists such a step."""
        return next((step.model for step in reversed(self.steps) if step.kind == "fallback_message"), None)

    @property
    def with_all_steps(self) -> "Usage":
        """A copy with the tokens of all its steps, if it lists steps."""
        if not self.steps:
            return self
        used = [step.usage for step in self.steps]
        return attrs.evolve(
            self,
            input=sum(one.input for one in used),
            cache_read=sum(one.cache_read for one in used),
            cache_write=sum(one.cache_write for one in used),
            cache_write_5m=None,
            cache_write_1h=None,
            output=sum(one.output for one in used),
            reasoning=None,
        )


def _sum_counts(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


def _sum_by_name(one: tuple[tuple[str, int], ...], other: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    return tuple((Counter(dict(one)) + Counter(dict(other))).items()) if one and other else one or other


@attrs.frozen
class UsageStep:
    """The usage of one of several model turns of an answer.

    ``kind`` is the provider's name for the turn (``compaction``, ``advisor_message``); ``model`` is None for the
    answer's own model.
    """

    kind: str
    model: str | None
    usage: Usage


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class AnswerEnd:
    """The end of a complete answer.

    ``raw`` is the provider's own reason; its meaning is unknown without ``is_known``. ``details`` are Messages'
    ``stop_details``, a JSON object that explains a refusal. ``moderation`` has the results that the client requested,
    in the form of Responses.
    """

    reason: Reason
    raw: str | None = None
    stop_sequence: str | None = None
    details: Any = None
    moderation: Any = None
    is_known: bool = True


@attrs.frozen
class ErrorInfo:
    """A failure that prevented or cut short an answer; every ``GatewayError`` carries one.

    ``headers`` are additional response headers (``retry-after``, ``x-should-retry``); ``details`` is a JSON value for
    Messages' ``error.details``. ``native`` means that the answer's own object reports the failure (a Responses object
    with status ``failed`` or ``queued``), which a client of the same API reads as an answer. ``body`` is a provider's
    error body that a client of its API may receive unchanged. ``concerns_all``: no request can have caused the failure,
    so it concerns all clients. ``is_end``: the provider reported it as the end of an answer. ``log_message`` replaces
    ``message`` in the log, because a provider's message may quote the prompt.
    """

    kind: ErrorKind
    message: str
    status: int = attrs.field(default=attrs.Factory(lambda self: STATUS[self.kind], takes_self=True))
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    details: Any = None
    native: bool = False
    body: bytes = attrs.field(default=b"", eq=False, repr=False)
    reason: FailureReason | None = attrs.field(
        default=attrs.Factory(lambda self: FAILURE_REASON[self.kind], takes_self=True)
    )
    wait: float | None = None
    concerns_all: bool = False
    is_end: bool = attrs.field(default=False, eq=False)
    log_message: str | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def loggable_message(self) -> str:
        """The message without text that a provider may have quoted from the request."""
        return self.message if self.log_message is None else self.log_message


Event: TypeAlias = (
    AnswerStart
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ReasoningState
    | Citation
    | ToolCallStart
    | ToolCallDelta
    | NativeItem
    | BlockEnd
    | Usage
    | AnswerEnd
    | ErrorInfo
)

E = TypeVar("E")


def change_event(event: E, **changes: Any) -> E:
    """Return a copy of ``event``, of any kind, with ``changes``."""
    if isinstance(event, msgspec.Struct):
        return msgspec.structs.replace(event, **changes)
    return attrs.evolve(event, **changes)  # type: ignore[misc]  # the others are classes of attrs


CONTENT = (TextDelta, RefusalDelta, ReasoningDelta, ReasoningState, ToolCallStart, NativeItem, AnswerEnd)
"""The events that commit an exchange: after the first of them the gateway cannot retry.

An answer without content commits with its ``AnswerEnd``.
"""
