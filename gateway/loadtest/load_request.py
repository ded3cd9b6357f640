"""One kind of request that a load consists of, with the values that its numbers are."""

from typing import Any, Literal, NewType, TypeAlias

import attrs

from gateway.config.kinds import Count, Duration, Size

LoadApi: TypeAlias = Literal["chat", "messages", "responses", "gemini", "converse"]
"""The APIs that the load tester speaks."""

Share = NewType("Share", float)  # 0 to 1
Rate = NewType("Rate", float)  # a second
Sizes = NewType("Sizes", tuple[int, int])  # least and most

# The defaults
AT_ONCE, ONE_SECOND = Duration(0.0), Duration(1.0)
ONE_KILOBYTE = Size(1000)
NONE, OUTPUT = Count(0), Count(1024)
EVEN = Rate(1.0)
PROMPT = Sizes((20, 20))


@attrs.frozen
class Cancelling:
    """Clients that go away ``after`` so many seconds, if the answer has not ended by then."""

    share: Share
    after: Duration = ONE_SECOND


@attrs.frozen
class Slow:
    """Clients that read ``rate`` bytes a second at most."""

    share: Share
    rate: Size = ONE_KILOBYTE


@attrs.frozen
class LoadRequest:
    """One kind of request in the mix. ``prompt`` is in tokens, about; ``output`` is the limit that is asked for.

    ``extra`` goes into the body as it is, over all that is made here."""

    model: str
    name: str = ""
    weight: Rate = EVEN
    api: LoadApi = "chat"
    stream: bool = True
    prompt: Sizes = PROMPT
    output: Count = OUTPUT
    tools: Count = NONE
    usage: bool = True
    extra: dict[str, Any] = attrs.field(factory=dict)
    cancel: Cancelling | None = None
    slow: Slow | None = None
    think: Duration = AT_ONCE

    @property
    def cancels(self) -> float:
        """The share of clients that go away."""
        return self.cancel.share if self.cancel else 0.0

    @property
    def slows(self) -> float:
        """The share of clients that read slowly."""
        return self.slow.share if self.slow else 0.0
