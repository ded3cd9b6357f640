"""The rates of calls of the HTTP API, and of views of the live view."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from gateway.allowances.allowance import counter_key
from gateway.counters.counter import Counters, Debit, RateCounter, new_claim
from streams.errors import GatewayError

CallKind: TypeAlias = Literal["changes", "reads", "views"]

MOST_CALLS: Final[Mapping[CallKind, int]] = {"changes": 60, "reads": 600, "views": 60}
"""Calls of one caller a minute. A view opens the live view or one of its streams."""

_MINUTE: Final = 60.0


async def count_call(counters: Counters, caller: str, kind: CallKind) -> None:
    """Count a call of ``caller`` in all workers. Raises ``GatewayError`` (429) if it made too many in the last minute.

    These counters are not those of ``ratelimits``, so calls of these paths never wait for the requests of models."""
    most, name = MOST_CALLS[kind], f"admin.{kind}"
    key = counter_key(f"{name}\0{caller}")
    claim = new_claim(Debit(RateCounter(key, name, most, _MINUTE, most, chosen_by=caller), 1))
    short = await counters.reserve((claim,))
    if not short:
        counters.settle(claim, (1,))
    elif short[0].cause == "no_room":
        wait = max(1, round(short[0].wait or 1))
        message = f"more than {most} {kind} a minute: try again in {wait} s"
        raise GatewayError("rate_limited", message, headers=(("retry-after", str(wait)),))
