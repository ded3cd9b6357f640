"""One kind of request in a load, with the kinds of values of its keys."""

import math
import random
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind
from configfile.kinds import Count, Duration, Natural, Size
from configfile.wording import Wrong, describe
from loadtest.plan.kinds import FilePath, ImageSize, Rate, Share, as_keys, read_as
from loadtest.plan.lengths import (
    LONGEST,
    NAMES,
    Lengths,
    SharedPrefixes,
    UniformLengths,
    as_lengths,
    constant_length,
    parse_distribution,
    read_lengths,
    read_prefixes,
)
from loadtest.plan.load_endpoints import LoadApi

History: TypeAlias = Literal["client", "server"]
"""The side that keeps earlier turns: a client sends all turns each time, a server only gets the last one."""

MOST_TURNS: Final = 1000
ONE: Final = constant_length(1)
NO_TIME: Final = constant_length(0)
OTHERS: Final = "*"
"""All tools without an entry of their own."""


@attrs.frozen
class Turns:
    """The turns of a conversation: a random ``count``, or the ``texts`` of the user."""

    count: Lengths = ONE
    texts: tuple[str, ...] = ()

    @property
    def has_several(self) -> bool:
        return bool(self.texts) or self.count != ONE


@attrs.frozen
class FollowUp:
    """The length of a user's messages after the first turn. ``None``: the length of prompts."""

    lengths: Lengths | None = None


@attrs.frozen
class ThinkTime:
    """The time that a client waits before the next request."""

    milliseconds: Lengths = NO_TIME

    @property
    def has_pauses(self) -> bool:
        return self.milliseconds != NO_TIME

    @property
    def mean(self) -> float:
        """The mean in seconds."""
        return self.milliseconds.mean / 1000

    def draw(self, rng: random.Random) -> float:
        """Return a random time in seconds."""
        return self.milliseconds.draw(rng) / 1000


@attrs.frozen
class ToolResults:
    """The results of tools by name: a text, or a number of words."""

    by_name: Mapping[str, str | Lengths] = attrs.field(factory=lambda: {OTHERS: "done"})

    def result_of(self, tool: str) -> str | Lengths:
        """Return the text, or its length."""
        return self.by_name.get(tool, self.by_name.get(OTHERS, "done"))


# Spellings


def read_turns(value: Any) -> Turns:
    """Parse ``5``, ``[2, 10]``, a distribution, or a list of texts. Raises ``Wrong``."""
    if isinstance(value, list) and value and all(isinstance(one, str) and one.strip() for one in value):
        return Turns(constant_length(len(value)), tuple(map(str, value)))
    if isinstance(value, list) and not all(isinstance(one, int) for one in value):
        raise Wrong(describe(value), "expected the user's text of each turn, or two numbers of turns, [least, most]")
    try:
        count = read_lengths(value)
    except Wrong as error:
        raise Wrong(error.found, error.expected.replace(*_OF_TURNS), error.suggestion) from None
    if _greatest_count(count) > MOST_TURNS:
        raise Wrong(describe(value), f"a conversation may have at most {MOST_TURNS} turns: lower it, or set max")
    return Turns(count)


_OF_TURNS: Final = f"number of tokens, 1 to {LONGEST}", f"number of turns, 1 to {MOST_TURNS}"


def _greatest_count(count: Lengths) -> float:
    return count.most if isinstance(count, UniformLengths) or count.most != LONGEST else count.mean


def read_think_time(value: Any) -> ThinkTime:
    """Parse a time or a distribution of times. Raises ``Wrong``.

    Examples: ``2s``, ``[1s, 5s]``, ``{mean: 2s, stdev: 1s}``, ``{p50: 2s, p95: 20s}``, and the texts ``1s-5s`` and
    ``p50=2s,p95=20s``. Distributions accept ``min`` and ``max``.
    """
    plain = _parse_text(value) if isinstance(value, str) else value
    match plain:
        case {}:
            return ThinkTime(parse_distribution(plain, describe(value), "times", _EXPECTED, _parse_named_time, 0))
        case [least, most] if _parse_milliseconds(least) <= _parse_milliseconds(most):
            return ThinkTime(UniformLengths(_parse_milliseconds(least), _parse_milliseconds(most)))
        case [_, _]:
            raise Wrong(describe(value), "give the shorter time first")
        case str() | int() | float():
            return ThinkTime(constant_length(_parse_milliseconds(plain)))
    raise Wrong(describe(value), _EXPECTED)


_EXPECTED: Final = "expected a time such as 2s, [1s, 5s], mean with stdev, or p50 with p95 (each with min and max)"


def _parse_text(text: str) -> Any:
    """Return the value in a file that corresponds to the text of an option."""
    if "=" not in text:
        least, dash, most = text.partition("-")
        return [least.strip(), most.strip()] if dash and least else text
    parts = [part.partition("=") for part in text.split(",")]
    return {name.strip(): time.strip() for name, _, time in parts}


def _parse_milliseconds(value: Any) -> int:
    return round(1000 * float(read_as(Duration, value)))


def _parse_named_time(_: str, value: Any) -> int:
    return _parse_milliseconds(value)


def read_tool_results(value: Any) -> ToolResults:
    """Parse a text, a length in tokens, or a mapping of tool names to these, with ``"*"`` for other tools.

    Raises ``Wrong``.
    """
    if isinstance(value, dict) and not set(value) & set(NAMES):
        if not value:
            raise Wrong("this is not a tool", _RESULTS)
        return ToolResults({str(name): _parse_tool_result(one) for name, one in value.items()})
    return ToolResults({OTHERS: _parse_tool_result(value)})


_RESULTS: Final = "set a text or a length in tokens, or a mapping from tool names to these, with * for the others"


def _parse_tool_result(value: Any) -> str | Lengths:
    if isinstance(value, str) and not value.strip().isdecimal():
        return str(value)
    if isinstance(value, str | int | list | dict):
        return read_lengths(value)
    raise Wrong(describe(value), _RESULTS)


def read_follow_up(value: Any) -> FollowUp:
    """Parse a length in tokens. Raises ``Wrong``."""
    return FollowUp(read_lengths(value))


# Defaults
EVER = math.inf
EVEN = 1.0
AT_LENGTH, NO_THINKING, ONE_TURN, RESULTS = FollowUp(), ThinkTime(), Turns(), ToolResults()
PROMPT, OUTPUT = constant_length(20), constant_length(1024)

_Lengths: TypeAlias = Annotated[Lengths, Kind("a length in tokens", read_lengths)]

FileOrder: TypeAlias = Literal["file", "shuffled"]
"""The order of requests from a file."""


@attrs.frozen
class TokensSeen:
    """A number of tokens in an answer, counted as events with content."""

    count: int


def _parse_cancel_time(value: Any) -> float | TokensSeen:
    """Parse a time, or a number of tokens."""
    found = re.fullmatch(r"\s*([0-9]{1,7})\s*tokens?\s*", value) if isinstance(value, str) else None
    if found is not None and int(found[1]):
        return TokensSeen(int(found[1]))
    try:
        return float(read_as(Duration, value))
    except Wrong as error:
        raise Wrong(error.found, "expected a time such as 2s, or tokens such as 20 tokens") from None


@attrs.frozen(field_transformer=as_keys)
class Cancelling:
    """Clients that cancel ``after`` this many seconds or tokens, unless the answer has ended before."""

    share: Share
    after: Annotated[float | TokensSeen, Kind("a time, or tokens", _parse_cancel_time)] = 1.0


@attrs.frozen(field_transformer=as_keys)
class SlowReading:
    """Clients that read at most ``rate`` bytes a second."""

    share: Share
    rate: Size = 1000


@attrs.frozen(field_transformer=as_keys)
class PromptImages:
    """``count`` images in each prompt. ``size`` is width and height in pixels."""

    size: ImageSize = (512, 512)
    count: Natural = 1


@attrs.frozen(field_transformer=as_keys)
class LoadRequest:
    """One kind of request in the mix.

    ``prompt`` is its approximate length in tokens, and ``output`` the limit of the answer; ``exact`` requests exactly
    that length. ``prefix`` is shared with other requests. ``requests`` is a file of requests whose prompts replace
    generated ones, or a directory of recordings, which have their own model. ``slo`` are its own objectives as text.
    ``texts`` is the number of inputs if the endpoint accepts several. ``websocket`` sends Responses over a WebSocket.

    ``extra`` is merged into the body unchanged and overrides generated members.
    """

    model: str = ""
    name: str = ""
    weight: Rate = EVEN
    api: LoadApi = "chat"
    stream: bool = True
    prompt: _Lengths = attrs.field(default=PROMPT, converter=as_lengths)
    output: _Lengths = attrs.field(default=OUTPUT, converter=as_lengths)
    exact: bool = False
    prefix: Annotated[SharedPrefixes, Kind("shared texts", read_prefixes)] | None = None
    images: PromptImages | None = None
    texts: Natural = 1
    requests: FilePath | None = None
    order: FileOrder = "file"
    tools: Count = 0
    usage: bool = True
    extra: dict[str, Any] = attrs.field(factory=dict)
    cancel: Cancelling | None = None
    slow: SlowReading | None = None
    think: Annotated[ThinkTime, Kind("a time", read_think_time)] = NO_THINKING
    think_cap: Duration = EVER
    turns: Annotated[Turns, Kind("turns", read_turns)] = ONE_TURN
    follow_up: Annotated[FollowUp, Kind("a length", read_follow_up)] = AT_LENGTH
    tool_results: Annotated[ToolResults, Kind("texts", read_tool_results)] = RESULTS
    history: History = "client"
    websocket: bool = False
    slo: tuple[str, ...] = ()

    def draw_think_time(self, rng: random.Random) -> float:
        """Return the seconds before the next request."""
        return min(self.think.draw(rng), self.think_cap)

    @property
    def cancel_share(self) -> float:
        """The share of clients that cancel."""
        return self.cancel.share if self.cancel else 0.0

    @property
    def slow_share(self) -> float:
        """The share of clients that read slowly."""
        return self.slow.share if self.slow else 0.0
