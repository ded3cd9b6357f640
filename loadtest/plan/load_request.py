"""One kind of request that a load consists of, with the values that its numbers are."""

import math
import random
import re
from typing import Annotated, Any, Literal, TypeAlias

import attrs

from configfile.keys import Kind
from configfile.kinds import Count, Duration, Natural, Size
from configfile.wording import Wrong
from loadtest.plan.kinds import FilePath, ImageSize, Rate, Share, as_keys, read_as
from loadtest.plan.lengths import Lengths, as_lengths, exactly, read_lengths
from loadtest.plan.load_endpoints import LoadApi
from loadtest.plan.shared_prefixes import SharedPrefixes, read_prefixes
from loadtest.plan.turns import (
    FollowUp,
    History,
    ThinkTime,
    ToolResults,
    Turns,
    read_follow_up,
    read_think_time,
    read_tool_results,
    read_turns,
)

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
