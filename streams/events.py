"""The closed union of events that one answer consists of, whatever API it was said in.

A reader turns a provider's bytes into these, a writer turns them into the client's. The order is: ``AnswerStart``, then
any number of block events, at most one ``Usage`` that counts (the last one wins), then exactly one of ``AnswerEnd`` and
``ErrorInfo``, which is the last event.

Blocks are numbered by the reader, in the order in which they open: 0, 1, 2, … A block opens with its first event
(``TextDelta``, ``ReasoningDelta``, ``RefusalDelta``, ``ReasoningState`` or ``ToolCallStart`` with an unseen number) and
never opens again after its ``BlockEnd``. At most one block that is not a tool call is open at a time; tool calls may
interleave (Chat does that). A reader closes every block before ``AnswerEnd``; after ``ErrorInfo`` blocks may be left
open.
"""

from collections import Counter
from typing import Any, Literal, TypeAlias

import attrs

Api: TypeAlias = str
"""The name of a wire API. Which there are, the registry knows (``providers/apis.py``)."""
APIS: tuple[Api, ...] = ("chat", "messages", "responses", "gemini", "converse")
"""Those that rows of providers, configurations and tables of documentation are about: a name each."""

Reason: TypeAlias = Literal["stop", "stop_sequence", "length", "tool_calls", "refusal", "pause", "context_exceeded"]
"""Why an answer ended. ``refusal`` is also Chat's ``content_filter``; ``pause`` is Messages' ``pause_turn``."""

ToolKind: TypeAlias = Literal["function", "custom"]
"""``function`` takes a JSON object, ``custom`` takes free text (OpenAI's custom tools)."""

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
"""Why an attempt failed, finer than ``ErrorKind``: what routing decides by."""

UNAVAILABLE: frozenset[FailureReason] = frozenset(
    ("rate_limited", "quota", "overloaded", "server_error", "timeout", "connection", "bad_answer", "credential", "gone")
)
"""The reasons that say something about the place that was asked, and nothing about the request."""

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
"""The reason where nobody has said more than the kind."""


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class AnswerStart:
    """The answer has begun. ``id`` and ``model`` are the provider's words ("" where it says none)."""

    id: str = ""
    model: str = ""
    created: int | None = None  # Unix seconds


@attrs.frozen
class TextDelta:
    """A piece of visible text. Never empty. ``logprobs`` are its tokens' log probabilities where they were asked for:
    a list of objects ``{token, logprob, bytes, top_logprobs}``, the same in Chat and Responses. ``phase`` stands in the
    first piece of a block: what the message that holds it is (``commentary``, ``final_answer``), which only Responses
    says."""

    block: int
    text: str
    logprobs: Any = None
    phase: str | None = None


@attrs.frozen
class RefusalDelta:
    """A piece of the model's refusal (``message.refusal``, a ``refusal`` part). Never empty."""

    block: int
    text: str


@attrs.frozen
class ReasoningDelta:
    """A piece of visible reasoning. Never empty."""

    block: int
    text: str


@attrs.frozen
class ReasoningState:
    """The state that the provider needs back with this reasoning block on the next turn, whole, in its own API's words.

    ``item`` is a JSON value: a Messages ``thinking`` or ``redacted_thinking`` block, a Responses ``reasoning`` item, or
    for Chat ``{"reasoning_details": [...]}`` or ``{"field": NAME}``, where NAME is the member in which the text came
    (``reasoning_content``, ``reasoning``, ``content``) and the text itself is in the ``ReasoningDelta`` events. Comes
    at most once in a block, after its ``ReasoningDelta`` events and before its ``BlockEnd``.
    """

    block: int
    api: Api
    item: Any


@attrs.frozen
class Citation:
    """A citation of the text block that is open, in the words of ``api`` (a JSON object)."""

    block: int
    api: Api
    item: Any


@attrs.frozen
class ToolCallStart:
    """A call of one of the client's own tools begins. ``id`` is never empty and unique in the answer."""

    block: int
    id: str
    name: str
    kind: ToolKind = "function"


@attrs.frozen
class ToolCallDelta:
    """A piece of the call's arguments, as text; the pieces of a block put together are what the model wrote."""

    block: int
    text: str


@attrs.frozen
class NativeItem:
    """An item that only its own API can express (server tools and their results), whole. Opens and closes its block."""

    block: int
    api: Api
    kind: str
    item: Any


@attrs.frozen
class BlockEnd:
    """Nothing more comes in this block."""

    block: int


@attrs.frozen(slots=False)  # with slots each member is set by a call, and this is made for each event that counts
class Usage:
    """Token counts of the whole exchange so far; the last ``Usage`` of an answer is the true one. All are tokens.

    ``input`` counts only what was neither read from nor written to a cache; ``output`` includes ``reasoning``.

    The rest says what else a price depends on, and is no part of what two answers are compared by: a client of another
    API is not told of it. ``tier`` is the service tier that the provider says it used, in its own words, ``calls``
    how often each of its own tools ran, by name, ``told_nanos`` the cost that it states itself, in nano-dollars.
    ``steps`` are the turns of models that this one answer took, where the provider lists them: they are all that is
    billed by the token, so that the counts above are not added to them. ``units`` are what is billed beside
    tokens: how many of each, by name (``search``, ``image``, ``second``, ``character``; the tokens of a picture or a
    sound among those above as ``input_audio_token`` and the like). ``estimated``: nobody has told them, they are taken
    from the request.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_5m: int | None = None  # parts of cache_write by lifetime, None when the provider does not say
    cache_write_1h: int | None = None
    output: int = 0
    reasoning: int | None = None
    tier: str | None = attrs.field(default=None, eq=False)
    calls: tuple[tuple[str, int], ...] = attrs.field(default=(), eq=False)
    told_nanos: int | None = attrs.field(default=None, eq=False)
    steps: tuple["UsageStep", ...] = attrs.field(default=(), eq=False)
    units: tuple[tuple[str, int], ...] = attrs.field(default=(), eq=False)
    estimated: bool = attrs.field(default=False, eq=False)

    @property
    def prompt(self) -> int:
        """All input tokens, as the OpenAI APIs count them."""
        return self.input + self.cache_read + self.cache_write

    def __add__(self, other: "Usage") -> "Usage":
        """Return what both have taken: tokens, calls and units. What is one answer's own (its tier, its steps, the cost
        that its provider states) is not the sum's."""
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            cache_write_5m=_sum(self.cache_write_5m, other.cache_write_5m),
            cache_write_1h=_sum(self.cache_write_1h, other.cache_write_1h),
            output=self.output + other.output,
            reasoning=_sum(self.reasoning, other.reasoning),
            calls=_merged(self.calls, other.calls),
            units=_merged(self.units, other.units),
            estimated=self.estimated or other.estimated,
        )

    @property
    def of_all_steps(self) -> "Usage":
        """The same with the tokens of all its steps, where it lists them."""
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


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


def _merged(one: tuple[tuple[str, int], ...], other: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    return tuple((Counter(dict(one)) + Counter(dict(other))).items()) if one and other else one or other


@attrs.frozen
class UsageStep:
    """One of several turns of models that an answer took, with what that turn used. ``kind`` is the provider's word for
    it (``compaction``, ``advisor_message``), ``model`` its model where that is named, else the answer's."""

    kind: str
    model: str | None
    usage: Usage


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class AnswerEnd:
    """The answer is whole. ``raw`` is the provider's own word for the reason; ``details`` are Messages'
    ``stop_details`` (a JSON object that says why an answer was refused)."""

    reason: Reason
    raw: str | None = None
    stop_sequence: str | None = None
    details: Any = None


@attrs.frozen
class ErrorInfo:
    """The answer did not become whole, or never began. Also what every ``GatewayError`` carries.

    ``headers`` are those the client needs beside the status (``retry-after``, ``x-should-retry``), ``details`` a JSON
    value that goes into Messages' ``error.details``. ``native``: the answer's own object says so (a Responses object
    with status ``failed`` or ``queued``), and a client of the same API takes it as an answer. ``body`` is a provider's
    own error body where a client of its API may have that as it is. ``log_message`` replaces ``message`` in the log
    where the message is a provider's: a provider may quote the prompt in it.
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
    log_message: str | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def loggable_message(self) -> str:
        """The message without anything that a provider may have quoted from the request."""
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

CONTENT = (TextDelta, RefusalDelta, ReasoningDelta, ReasoningState, ToolCallStart, NativeItem, AnswerEnd)
"""Events that commit an exchange: from the first of them on the client has seen an answer, and there is no second
start. A whole answer without any content commits by its ``AnswerEnd``."""
