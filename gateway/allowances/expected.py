"""Estimates of a request's output, and so of how much budget it reserves beforehand.

The client's token limit is a poor estimate: programs allow 32,000 tokens and receive a few hundred. Reserving all of it
rejects affordable requests (BerriAI/litellm#40002, #27735)."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Final

import attrs

from gateway.config.settings import Reserve
from gateway.request.further_models import MAX_FALLBACKS
from gateway.request.prepared import UNSPECIFIED, RequestedOutput
from gateway.routing.target import Target
from gateway.shared.owned_entries import OwnedEntries
from providers.apis import CODECS
from providers.catalog.prices import cost_of
from streams.errors import invalid
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
"""Pairs of client and model that are remembered; the client with the most loses its least recently used."""

LONGEST_NAME: Final = 300
"""Characters of a remembered model name: clients may send megabytes."""

LONGEST_ANSWER: Final = 128_000
"""Tokens of the longest response of an unknown model."""


MAX_CALLS: Final = 10
"""The calls of a tool without a limit: those of one turn at Anthropic
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/server-tools). Others state none."""

_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {"web_search": ("googlesearch", "web")}
"""Beginnings of the types of tools with another name than their fee: Gemini's, and OpenRouter's plugin."""


@attrs.frozen(repr=False)
class RequestSize:
    """The size of one attempt: ``input`` tokens in ``requests`` requests, which allow ``output``."""

    input: int
    output: RequestedOutput = UNSPECIFIED
    requests: int = 1


@attrs.define(eq=False, repr=False)
class _Answers:
    """Recent output lengths of a model for one client, and the estimate for the next response."""

    last: deque[int] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED))
    expected: int = AT_FIRST


class ExpectedOutputs:
    """Estimates of output for each client and model, learned from responses."""

    def __init__(self, most: int = MOST) -> None:
        self._answers: OwnedEntries[str, str, _Answers] = OwnedEntries(most)

    def tokens(self, client: str | None, model: str, most: int | None = None) -> int:
        """Return the expected output tokens of a request that allows at most ``most``."""
        if most is not None and most <= ALLOWED:
            return most
        known = self._answers.get(client or "", model[:LONGEST_NAME])
        expected = AT_FIRST if known is None else known.expected
        return expected if most is None else min(expected, most)

    def learn(self, client: str | None, model: str, output: int) -> None:
        """Record that a complete response had ``output`` tokens."""
        owner, name = client or "", model[:LONGEST_NAME]
        known = self._answers.get(owner, name) or _Answers()
        self._answers.put(owner, name, known)
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
        return longest_output(target, requested.max_tokens) * requested.answers
    return outputs.tokens(client, target.name, requested.max_tokens) * requested.answers


def expected_usage(
    reserve: Reserve, outputs: ExpectedOutputs, client: str | None, target: Target, size: RequestSize
) -> Usage:
    """Return the usage to reserve at ``target`` for a request of ``size``."""
    output = reserved_output(reserve, outputs, client, target, size.output)
    return sent_usage(target, size, reserve) + Usage(output=output, calls=expected_calls(reserve, target, size))


def expected_calls(reserve: Reserve, target: Target, size: RequestSize) -> tuple[tuple[str, int], ...]:
    """Return the expected calls of the provider's own tools that have a fee: one of each tool, or with
    ``reserve: max`` as many as the request allows."""
    tools, price = size.output.tools, target.price
    if not tools or price is None or not price.fees:
        return ()
    found: dict[str, int] = {}
    for name, _ in price.fees:
        beginnings = (name.replace("_", "").casefold(), *_OTHER_NAMES.get(name, ()))
        limits = [most for kind, most in tools if kind.startswith(beginnings)]
        if limits:
            found[name] = sum(MAX_CALLS if most is None else most for most in limits) if reserve == "max" else 1
    return tuple(found.items())


def sent_usage(target: Target, size: RequestSize, reserve: Reserve = "expected") -> Usage:
    """Return the expected usage of a request of ``size`` to ``target`` without the text of its answers.

    A provider bills this as soon as it has the request."""
    output = size.output
    usage = Usage(input=size.input, units=output.max_units if reserve == "max" and output.max_units else output.units)
    media = output.media
    if media is None or target.price is None or not target.price.is_by_tokens:
        return usage
    return usage + media(target.model, reserve)


def dearest_nanos(target: Target, requested: RequestedOutput, usage: Usage) -> int:
    """Return the highest cost of ``usage`` at ``target``, by its own model or a fallback that the request lists.

    Models without a known price cost nothing. Raises ``GatewayError`` (400) for too many fallbacks."""
    if len(requested.fallbacks) > MAX_FALLBACKS:
        raise invalid(f"the request lists more than {MAX_FALLBACKS} models besides its own: send fewer")
    others = (attrs.evolve(target, model=name) for name in requested.fallbacks)
    prices = (one.price for one in (target, *others))
    return max((cost_of(price, usage).nanos for price in prices if price is not None), default=0)
