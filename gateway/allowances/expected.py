"""How much output a request is expected to have, and so how much of a budget it has to find there beforehand.

What a client allows is a poor guess: programs allow 32,000 tokens and get a few hundred, and to reserve all of that
refuses requests that would have cost a tenth (BerriAI/litellm#40002, #27735).
"""

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
"""Tokens of an answer where too few are known to say."""

ALLOWED: Final = 4096
"""Tokens up to which what a client allows is what it expects."""

SHARE: Final = 0.95
ENOUGH: Final = 20
"""Answers of which a 95th percentile says something."""
REMEMBERED: Final = 100
"""The last answers of each client and model that are looked at."""

MOST: Final = 10_000
"""Pairs of client and model that are remembered; those that were asked longest ago are forgotten."""

LONGEST_NAME: Final = 300
"""Characters by which a model is remembered: a client's name for one may have megabytes."""

LONGEST_ANSWER: Final = 128_000
"""Tokens of the longest answer of a model of which nothing is known."""

MOST_ASKED: Final = 10**7
"""Tokens beyond which no model answers, whatever is allowed: more would only keep others out meanwhile."""

MOST_ANSWERS: Final = 128
"""The most that OpenAI gives to one request."""

_NUMBER: Final = msgspec.json.Decoder(int)
_DIGITS: Final = 12
_OLDER_NAME: Final = "max_tokens"  # of Chat, beside its own


MediaUsage: TypeAlias = Callable[[str, Reserve], Usage]
"""Returns the tokens of pictures or sound that a request takes of the model of that name."""


@attrs.frozen
class AskedOutput:
    """What a request says of its output: ``most`` tokens for each of so many ``answers``, and ``units`` of what is
    billed beside tokens. ``media`` has its tokens where its target bills pictures or sound by them."""

    most: int | None = None
    answers: int = 1
    units: tuple[tuple[str, int], ...] = ()
    media: MediaUsage | None = None


UNSAID: Final = AskedOutput()


def asked_output(incoming: Incoming) -> AskedOutput:
    """Read from these members alone; a wrong one is for others to refuse."""
    most = _number(incoming, BY_NAME["max_tokens"].field(incoming.api))
    if most is None:
        most = _number(incoming, _OLDER_NAME)
    name = BY_NAME["n"].field(incoming.api)
    answers = _number(incoming, name) if name else None
    return AskedOutput(None if most is None else min(most, MOST_ASKED), min(answers or 1, MOST_ANSWERS))


def _number(incoming: Incoming, name: str) -> int | None:
    raw = incoming.members.get(name)
    if raw is None or len(raw) > _DIGITS:
        return None
    try:
        found = _NUMBER.decode(raw)
    except msgspec.MsgspecError:
        return None
    return found if found > 0 else None


@attrs.define(eq=False)
class _Answers:
    """The last answers of a model for one client, and what the next one is expected to be like."""

    last: deque[int] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED))
    expected: int = AT_FIRST


class ExpectedOutputs:
    """What answers have been like, for each client and model."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._answers: OrderedDict[tuple[str | None, str], _Answers] = OrderedDict()

    def tokens(self, client: str | None, model: str, most: int | None = None) -> int:
        """The tokens of an answer, about, for which its client has allowed ``most``."""
        if most is not None and most <= ALLOWED:
            return most
        known = self._answers.get((client, model[:LONGEST_NAME]))
        expected = AT_FIRST if known is None else known.expected
        return expected if most is None else min(expected, most)

    def learn(self, client: str | None, model: str, output: int) -> None:
        """A whole answer had so many tokens of ``output``."""
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


def longest(target: Target, most: int | None) -> int:
    """The tokens of the longest answer that could come of ``target``."""
    if most is not None:
        return most
    quirks = target.recipient.quirks
    if CODECS[target.api].wire.requires_limit:
        return quirks.default_max_tokens  # what is asked for in place of the client
    return min(LONGEST_ANSWER, quirks.max_output or quirks.context_window or LONGEST_ANSWER)


def reserved_output(
    reserve: Reserve, outputs: ExpectedOutputs, client: str | None, target: Target, asked: AskedOutput
) -> int:
    """The tokens of output for which there has to be room before the request is sent."""
    if reserve == "max":
        return longest(target, asked.most) * asked.answers
    return outputs.tokens(client, target.name, asked.most) * asked.answers


def expected_usage(
    reserve: Reserve, outputs: ExpectedOutputs, client: str | None, target: Target, asked: AskedOutput, given: int
) -> Usage:
    """Return what an answer of ``target`` to a request of ``given`` tokens is expected to use."""
    output = reserved_output(reserve, outputs, client, target, asked)
    usage = Usage(input=given, output=output, units=asked.units)
    if asked.media is None or target.price is None or not target.price.is_by_tokens:
        return usage
    return usage + asked.media(target.model, reserve)
