"""Where limits and budgets stand, for the live view and for operators' probes."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import trio

from gateway.allowances.allowance import Allowance
from gateway.allowances.allowances import Allowances
from gateway.allowances.standing import Standing, look_at, standings

LOOKED_AT: Final = 200
"""Limits that are looked at without a pause: there may be thousands."""

MOST_LIMITS: Final = 100
"""Limits that a viewer is shown, those of which most is used."""

MOST_TOLD: Final = 10_000
"""Limits that a probe is told."""


async def limits_seen(allowances: Allowances, client: str | None, most: int = MOST_LIMITS) -> list[Standing]:
    """Return the limits with the highest use first. A ``client`` sees its own and its group's."""
    now = allowances.now()
    found: list[Standing] = []
    shown = allowances.all() if client is None else allowances.seen_by(client)
    await look_at(shown, allowances.counters, now)
    for several in _batches(shown):
        found += standings(several, allowances.counters, now)
        await trio.lowlevel.checkpoint()
    found.sort(key=lambda one: one.share + one.share_held, reverse=True)
    return found[:most]


def _batches(allowances: Sequence[Allowance]) -> Iterator[Sequence[Allowance]]:
    return (allowances[at : at + LOOKED_AT] for at in range(0, len(allowances), LOOKED_AT))


def limit_fields(one: Standing) -> dict[str, Any]:
    """One of them in JSON. Dollars are in nano-dollars."""
    return {
        "holder": str(one.holder), "limit": one.limit, "text": one.text, "measure": one.measure, "used": one.used,
        "held": one.held, "most": one.most,
    }  # fmt: skip
