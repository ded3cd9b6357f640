"""Deletes raises that have ended, and the rows of the audit after 400 days."""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from gateway.stores.errors import Unavailable
from gateway.stores.record_tables import RightsTables

log = logging.getLogger("trigate.keys")

DAY: Final = 86400.0
AUDIT_DAYS: Final = 400
SWEEP_SECONDS: Final = 900.0
"""Seconds between two deletions of expired rows, on average: all processes of all gateways do it."""

_OLD_AUDIT: Final = """
    DELETE FROM {} WHERE number < coalesce((SELECT min(number) FROM {{audit}} WHERE at > :before), 9223372036854775807)
"""
"""Rows are deleted from the start of the audit without gaps, whatever clocks have set their times."""

_EXPIRED: Final = (
    ("DELETE FROM {raises} WHERE until <= :before", 30 * DAY),
    (_OLD_AUDIT.format("{audit_digests}"), AUDIT_DAYS * DAY),
    (_OLD_AUDIT.format("{audit}"), AUDIT_DAYS * DAY),
)


def sweep_rights(tables: RightsTables, now: float, expired: Sequence[tuple[str, float]] = _EXPIRED) -> None:
    """Run the deletions ``expired``: statements, and the seconds that must have passed before.

    No change is noted: other processes drop expired rows by their times."""
    for statement, seconds in expired:
        tables.select(statement, before=now - seconds)


async def sweep_regularly(sweep: Callable[[float], Awaitable[None]]) -> None:
    """Call ``sweep`` with the present Unix time every few minutes, until cancelled. Never raises."""
    await trio.sleep(random.uniform(0, SWEEP_SECONDS))
    while True:
        try:
            await sweep(time.time())
        except Unavailable as error:
            log.warning("could not delete expired rows of raises, the audit or people: %s", error)
        await trio.sleep(random.uniform(0.5, 1.5) * SWEEP_SECONDS)
