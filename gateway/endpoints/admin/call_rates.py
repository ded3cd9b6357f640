"""The rates of calls: 60 changes and 600 reads a minute for each caller, common to all workers.

They are counters next to those of ``ratelimits``, so calls of these paths never wait for the requests of models."""

from typing import Final

from gateway.allowances.allowance import counter_key
from gateway.counters.counter import Counters, Debit, RateCounter, new_claim
from streams.errors import GatewayError

CHANGES: Final = 60
READS: Final = 600
"""Calls of one caller a minute."""

_MINUTE: Final = 60.0


async def count_call(counters: Counters, caller: str, *, changes: bool) -> None:
    """Count a call. Raises ``GatewayError`` (429) if the caller has made too many in the last minute."""
    kind, most = ("changes", CHANGES) if changes else ("reads", READS)
    name = f"admin.{kind}"
    key = counter_key(f"{name}\0{caller}")
    claim = new_claim(Debit(RateCounter(key, name, most, _MINUTE, most, chosen_by=caller), 1))
    short = await counters.reserve((claim,))
    if not short:
        counters.settle(claim, (1,))
    elif short[0].cause == "no_room":
        wait = max(1, round(short[0].wait or 1))
        message = f"more than {most} {kind} a minute: try again in {wait} s"
        raise GatewayError("rate_limited", message, headers=(("retry-after", str(wait)),))
