"""One kind of request that a load consists of, with the values that its numbers are."""

import math
import random
from pathlib import Path
from typing import Any, Literal, NewType, TypeAlias

import attrs

from loadtest.plan.converter import Count, Duration, Natural, Size
from loadtest.plan.lengths import Lengths, as_lengths, exactly
from loadtest.plan.load_endpoints import LoadApi
from loadtest.plan.shared_prefixes import SharedPrefixes
from loadtest.plan.turns import FollowUp, History, ThinkTime, ToolResults, Turns

Share = NewType("Share", float)  # 0 to 1
Rate = NewType("Rate", float)  # a second
Percentiles = NewType("Percentiles", tuple[float, ...])
FilePath = NewType("FilePath", Path)
ImageSize = NewType("ImageSize", tuple[int, int])  # pixels
Objectives = NewType("Objectives", tuple[str, ...])  # as text

# The defaults
AT_ONCE, ONE_SECOND, EVER = Duration(0.0), Duration(1.0), Duration(math.inf)
ONE_KILOBYTE = Size(1000)
NONE, ONE = Count(0), Natural(1)
ONE_TILE = ImageSize((512, 512))
EVEN = Rate(1.0)
AT_LENGTH, NO_THINKING, ONE_TURN, RESULTS = FollowUp(), ThinkTime(), Turns(), ToolResults()
PERCENTILES = Percentiles((50.0, 95.0, 99.0))  # that a report shows
PROMPT, OUTPUT = exactly(20), exactly(1024)

FileOrder: TypeAlias = Literal["file", "shuffled"]
"""The order in which the requests of a file are sent."""
NO_OBJECTIVES = Objectives(())


@attrs.frozen
class TokensSeen:
    """So many tokens of an answer, counted as events with content."""

    count: int


@attrs.frozen
class Cancelling:
    """Clients that go away ``after`` so many seconds or tokens, if the answer has not ended by then."""

    share: Share
    after: Duration | TokensSeen = ONE_SECOND


@attrs.frozen
class Slow:
    """Clients that read ``rate`` bytes a second at most."""

    share: Share
    rate: Size = ONE_KILOBYTE


@attrs.frozen
class PromptImages:
    """So many images in each prompt, each of ``size`` (width and height in pixels)."""

    size: ImageSize = ONE_TILE
    count: Natural = ONE


@attrs.frozen
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
    prompt: Lengths = attrs.field(default=PROMPT, converter=as_lengths)
    output: Lengths = attrs.field(default=OUTPUT, converter=as_lengths)
    exact: bool = False
    prefix: SharedPrefixes | None = None
    images: PromptImages | None = None
    texts: Natural = ONE
    requests: FilePath | None = None
    order: FileOrder = "file"
    tools: Count = NONE
    usage: bool = True
    extra: dict[str, Any] = attrs.field(factory=dict)
    cancel: Cancelling | None = None
    slow: Slow | None = None
    think: ThinkTime = NO_THINKING
    think_cap: Duration = EVER
    turns: Turns = ONE_TURN
    follow_up: FollowUp = AT_LENGTH
    tool_results: ToolResults = RESULTS
    history: History = "client"
    websocket: bool = False
    slo: Objectives = NO_OBJECTIVES

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
