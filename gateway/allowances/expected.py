"""Estimates of a request's output, and so of how much budget it reserves beforehand.

The client's token limit is a poor estimate: programs allow 32,000 tokens and receive a few hundred. Reserving all of it
rejects affordable requests (BerriAI/litellm#40002, #27735)."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs
import msgspec

from gateway.config.settings import Reserve
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.neutral.parameters import BY_NAME
from streams.events import Usage

AT_FIRST: Final = 2048
"""Tokens expected while too few responses are known."""

ALLOWED: Final = 4096
"""A client's token limit up to this number is the estimate itself."""

SHARE: Final = 0.95
ENOUGH: Final = 20
"""Responses required for a 95th percentile."""
REMEMBERED: Final = 100
"""Recent responses considered for each client and model."""

MOST: Final = 10_000
"""Pairs of client and model that are remembered; the least recently used are forgotten."""

LONGEST_NAME: Final = 300
"""Characters of a remembered model name: clients may send megabytes."""

LONGEST_ANSWER: Final = 128_000
"""Tokens of the longest response of an unknown model."""

MOST_REQUESTED: Final = 10**7
"""Tokens that no response exceeds: reserving more would only block other requests."""

MOST_ANSWERS: Final = 128
"""The most choices that OpenAI returns for one request."""

_NUMBER: Final = msgspec.json.Decoder(int)
_DIGITS: Final = 12
_OLDER_NAME: Final = "max_tokens"  # Chat's older name of the token limit


MediaUsage: TypeAlias = Callable[[str, Reserve], Usage]
"""A function that returns the expected tokens of pictures or sound for a model name."""


@attrs.frozen(repr=False)
class RequestedOutput:
    """The output that a request allows: ``most`` tokens for each of ``answers``, and ``units`` billed in addition to
    tokens.

    ``media`` estimates tokens of pictures or sound if the target bills them by tokens."""

    most: int | None = None
    answers: int = 1
    units: tuple[tuple[str, int], ...] = ()
    media: MediaUsage | None = None


UNSPECIFIED: Final = RequestedOutput()


def requested_output(incoming: Incoming) -> RequestedOutput:
    """Return the output that the members of ``incoming`` allow; invalid members are left to later checks."""
    most = _number(incoming, BY_NAME["max_tokens"].field(incoming.api))
    if most is None:
        most = _number(incoming, _OLDER_NAME)
    name = BY_NAME["n"].field(incoming.api)
    answers = _number(incoming, name) if name else None
    return RequestedOutput(None if most is None else min(most, MOST_REQUESTED), min(answers or 1, MOST_ANSWERS))


def _number(incoming: Incoming, name: str) -> int | None:
    raw = incoming.members.get(name)
    if raw is None or len(raw) > _DIGITS:
        return None
    try:
        found = _NUMBER.decode(raw)
    except msgspec.MsgspecError:
        return None
    return found if found > 0 else None


@attrs.define(eq=False, repr=False)
class _Answers:
    """Recent output lengths of a model for one client, and the estimate for the next response."""

    last: deque[int] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED))
    expected: int = AT_FIRST


class ExpectedOutputs:
    """Estimates of output for each client and model, learned from responses."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._answers: OrderedDict[tuple[str | None, str], _Answers] = OrderedDict()

    def tokens(self, client: str | None, model: str, most: int | None = None) -> int:
        """Return the expected output tokens if the client allows ``most``."""
        if most is not None and most <= ALLOWED:
            return most
        known = self._answers.get((client, model[:LONGEST_NAME]))
        expected = AT_FIRST if known is None else known.expected
        return expected if most is None else min(expected, most)

    def learn(self, client: str | None, model: str, output: int) -> None:
        """Record that a complete response had ``output`` tokens."""
        key = client, model[:LONGEST_NAME]
        known = self._answers.get(key)
        if known is None:
            known = self._answers[key] = _Answers()
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)
        else:
            self._answers.move_to_end(key)
        known.last.append(output)
        if len(known.last) >= ENOUGH:
            known.expected = sorted(known.last)[math.ceil(len(known.last) * SHARE) - 1]


def longest_output(target: Target, most: int | None) -> int:
    """Return the tokens of the longest response that ``target`` could send."""
    if most is not None:
        return most
    quirks = target.recipient.quirks
    if CODECS[target.api].wire.requires_limit:
        return quirks.default_max_tokens  # the gateway sends this limit for the client
    return min(LONGEST_ANSWER, quirks.max_output or quirks.context_window or LONGEST_ANSWER)


def reserved_output(
    reserve: Reserve, outputs: ExpectedOutputs, client: str | None, target: Target, requested: RequestedOutput
) -> int:
    """Return the output tokens to reserve before the request is sent."""
    if reserve == "max":
        return longest_output(target, requested.most) * requested.answers
    return outputs.tokens(client, target.name, requested.most) * requested.answers


def expected_usage(
    reserve: Reserve,
    outputs: ExpectedOutputs,
    client: str | None,
    target: Target,
    requested: RequestedOutput,
    input_tokens: int,
) -> Usage:
    """Return the expected usage of a request with ``input_tokens`` to ``target``."""
    output = reserved_output(reserve, outputs, client, target, requested)
    usage = Usage(input=input_tokens, output=output, units=requested.units)
    if requested.media is None or target.price is None or not target.price.is_by_tokens:
        return usage
    return usage + requested.media(target.model, reserve)
