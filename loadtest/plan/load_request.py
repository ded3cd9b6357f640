"""One kind of request that a load consists of, with its turns and the other values of its keys."""

import math
import random
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind
from configfile.kinds import Count, Duration, Natural, Size
from configfile.wording import Wrong, describe, nearest
from loadtest.plan.kinds import FilePath, ImageSize, Rate, Share, as_keys, read_as
from loadtest.plan.lengths import (
    LONGEST,
    EvenLengths,
    Lengths,
    LognormalLengths,
    NormalLengths,
    SharedPrefixes,
    as_lengths,
    exactly,
    read_lengths,
    read_prefixes,
)
from loadtest.plan.load_endpoints import LoadApi

History: TypeAlias = Literal["client", "server"]
"""Who keeps the earlier turns: the client, which sends them all each time, or the server, which is told the last."""

MOST_TURNS: Final = 1000
ONE: Final = exactly(1)
NO_TIME: Final = exactly(0)
OTHERS: Final = "*"
"""Stands for the tools that are not named."""


@attrs.frozen
class Turns:
    """The turns of a conversation: ``count`` is drawn for each, or ``texts`` are what its user says."""

    count: Lengths = ONE
    texts: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        return bool(self.texts) or self.count != ONE


@attrs.frozen
class FollowUp:
    """The length of what a user says behind the first turn; ``None`` for that of prompts."""

    lengths: Lengths | None = None


@attrs.frozen
class ThinkTime:
    """How long a client waits before it asks again."""

    milliseconds: Lengths = NO_TIME

    @property
    def some(self) -> bool:
        return self.milliseconds != NO_TIME

    @property
    def mean(self) -> float:
        """Seconds."""
        return self.milliseconds.mean / 1000

    def draw(self, chance: random.Random) -> float:
        """Seconds."""
        return self.milliseconds.draw(chance) / 1000


@attrs.frozen
class ToolResults:
    """What the tools that a server calls give back, by their names: a text, or words of so many tokens."""

    by_name: Mapping[str, str | Lengths] = attrs.field(factory=lambda: {OTHERS: "done"})

    def of(self, tool: str) -> str | Lengths:
        """The text, or its length."""
        return self.by_name.get(tool, self.by_name.get(OTHERS, "done"))


# How they are spelled


def read_turns(value: Any) -> Turns:
    """``5``, ``[2, 10]``, a distribution, or a list of texts. Raises ``Wrong``."""
    if isinstance(value, list) and value and all(isinstance(one, str) and one.strip() for one in value):
        return Turns(exactly(len(value)), tuple(map(str, value)))
    if isinstance(value, list) and not all(isinstance(one, int) for one in value):
        raise Wrong(describe(value), "list what the user says in each turn, as texts, or two numbers, [least, most]")
    try:
        count = read_lengths(value)
    except Wrong as error:
        raise Wrong(error.found, error.expected.replace(*_OF_TURNS), error.suggestion) from None
    if _greatest(count) > MOST_TURNS:
        raise Wrong(describe(value), f"a conversation may have {MOST_TURNS} turns: lower it, or give it a max")
    return Turns(count)


_OF_TURNS: Final = f"number of tokens, 1 to {LONGEST}", f"number of turns, 1 to {MOST_TURNS}"


def _greatest(count: Lengths) -> float:
    return count.most if isinstance(count, EvenLengths) or count.most != _UNBOUNDED else count.mean


_UNBOUNDED: Final = NormalLengths(1, 0).most


def read_think_time(value: Any) -> ThinkTime:
    """``2s``, ``[1s, 5s]``, ``{mean: 2s, stdev: 1s}`` or ``{p50: 2s, p95: 20s}``, each with ``min`` and ``max``; as
    text ``1s-5s`` and ``p50=2s,p95=20s``. Raises ``Wrong``."""
    plain = _named(value) if isinstance(value, str) else value
    match plain:
        case {}:
            return ThinkTime(_distribution(plain, value))
        case [least, most] if _milliseconds(least) <= _milliseconds(most):
            return ThinkTime(EvenLengths(_milliseconds(least), _milliseconds(most)))
        case [_, _]:
            raise Wrong(describe(value), "give the shorter time first")
        case str() | int() | float():
            return ThinkTime(exactly(_milliseconds(plain)))
    raise Wrong(describe(value), _EXPECTED)


_EXPECTED: Final = "this must be a time such as 2s, [1s, 5s], mean with stdev, or p50 with p95 (each with min and max)"
_NAMES: Final = ("mean", "stdev", "p50", "p95", "min", "max")


def _named(text: str) -> Any:
    """What an option's text would be in a file."""
    if "=" not in text:
        least, dash, most = text.partition("-")
        return [least.strip(), most.strip()] if dash and least else text
    parts = [part.partition("=") for part in text.split(",")]
    return {name.strip(): time.strip() for name, _, time in parts}


def _distribution(given: Mapping[str, Any], value: Any) -> Lengths:
    for name in given:
        if name not in _NAMES:
            near = nearest(str(name), _NAMES)
            raise Wrong(f"{name} in a distribution of times", "" if near else _EXPECTED, near)
    times = {name: _milliseconds(time) for name, time in given.items()}
    least, most = times.pop("min", 0), times.pop("max", _UNBOUNDED)
    if most < least:
        raise Wrong(describe(value), "max must be min or more")
    match times:
        case {"mean": mean, "stdev": stdev} if len(times) == 2:
            return NormalLengths(mean, stdev, least, most)
        case {"p50": p50, "p95": p95} if len(times) == 2 and 0 < p50 <= p95:
            return LognormalLengths(p50, p95, least, most)
    raise Wrong(describe(value), "give mean with stdev, or p50 with a p95 that is not below it")


def _milliseconds(value: Any) -> int:
    return round(1000 * float(read_as(Duration, value)))


def read_tool_results(value: Any) -> ToolResults:
    """A text, a length in tokens as those of prompts, or either by the tools' names, ``"*"`` for the others. Raises
    ``Wrong``."""
    if isinstance(value, dict) and not set(value) & set(_NAMES):
        if not value:
            raise Wrong("no tool", _RESULTS)
        return ToolResults({str(name): _result(one) for name, one in value.items()})
    return ToolResults({OTHERS: _result(value)})


_RESULTS: Final = "give a text, a length in tokens, or one of these by each tool's name, with * for the others"


def _result(value: Any) -> str | Lengths:
    if isinstance(value, str) and not value.strip().isdecimal():
        return str(value)
    if isinstance(value, str | int | list | dict):
        return read_lengths(value)
    raise Wrong(describe(value), _RESULTS)


def read_follow_up(value: Any) -> FollowUp:
    """A length, as those of prompts. Raises ``Wrong``."""
    return FollowUp(read_lengths(value))


# The defaults
EVER = math.inf
EVEN = 1.0
AT_LENGTH, NO_THINKING, ONE_TURN, RESULTS = FollowUp(), ThinkTime(), Turns(), ToolResults()
PROMPT, OUTPUT = exactly(20), exactly(1024)

_Lengths: TypeAlias = Annotated[Lengths, Kind("a length in tokens", read_lengths)]

FileOrder: TypeAlias = Literal["file", "shuffled"]
"""The order in which the requests of a file are sent."""


@attrs.frozen
class TokensSeen:
    """So many tokens of an answer, counted as events with content."""

    count: int


def _leaving(value: Any) -> float | TokensSeen:
    """A time, or tokens."""
    found = re.fullmatch(r"\s*([0-9]{1,7})\s*tokens?\s*", value) if isinstance(value, str) else None
    if found is not None and int(found[1]):
        return TokensSeen(int(found[1]))
    try:
        return float(read_as(Duration, value))
    except Wrong as error:
        raise Wrong(error.found, "this must be a time such as 2s, or tokens such as 20 tokens") from None


@attrs.frozen(field_transformer=as_keys)
class Cancelling:
    """Clients that go away ``after`` so many seconds or tokens, if the answer has not ended by then."""

    share: Share
    after: Annotated[float | TokensSeen, Kind("a time, or tokens", _leaving)] = 1.0


@attrs.frozen(field_transformer=as_keys)
class Slow:
    """Clients that read ``rate`` bytes a second at most."""

    share: Share
    rate: Size = 1000


@attrs.frozen(field_transformer=as_keys)
class PromptImages:
    """So many images in each prompt, each of ``size`` (width and height in pixels)."""

    size: ImageSize = (512, 512)
    count: Natural = 1


@attrs.frozen(field_transformer=as_keys)
class LoadRequest:
    """One kind of request in the mix. ``prompt`` is in tokens, about; ``output`` is the limit that is asked for, and
    ``exact`` asks for no less. A ``prefix`` is shared with others. ``requests`` is a file of them: their prompts take
    the place of those that are made here. It may be a directory of recordings, which have a model of their own. ``slo``
    are its own objectives, as text. ``texts`` are the inputs of one request where an endpoint takes several,
    ``websocket`` asks for Responses over one.

    ``extra`` goes into the body as it is, over all that is made here."""

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
    slow: Slow | None = None
    think: Annotated[ThinkTime, Kind("a time", read_think_time)] = NO_THINKING
    think_cap: Duration = EVER
    turns: Annotated[Turns, Kind("turns", read_turns)] = ONE_TURN
    follow_up: Annotated[FollowUp, Kind("a length", read_follow_up)] = AT_LENGTH
    tool_results: Annotated[ToolResults, Kind("texts", read_tool_results)] = RESULTS
    history: History = "client"
    websocket: bool = False
    slo: tuple[str, ...] = ()

    def think_before(self, chance: random.Random) -> float:
        """Seconds that a client thinks before it asks again."""
        return min(self.think.draw(chance), self.think_cap)

    @property
    def cancels(self) -> float:
        """The share of clients that go away."""
        return self.cancel.share if self.cancel else 0.0

    @property
    def slows(self) -> float:
        """The share of clients that read slowly."""
        return self.slow.share if self.slow else 0.0
