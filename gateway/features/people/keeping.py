"""Keeps the tables of people: stores the people seen, and deletes expired rows."""

import logging
import random
import time
from typing import Final

import trio

from gateway.features.people.seen import SeenPeople
from gateway.features.people.store import PeopleStore
from gateway.stores.errors import Unavailable

log = logging.getLogger("trigate.people")

FLUSH_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = 0.25
"""Seconds after a new person, so that several are stored together."""
SWEEP_SECONDS: Final = 900.0
"""Seconds between two deletions of expired rows, on average: all processes of all gateways do it."""


async def keep_people(store: PeopleStore, seen: SeenPeople) -> None:
    """Store new people soon and others every few seconds, and delete expired rows, until cancelled. Never raises."""
    next_sweep = trio.current_time() + random.uniform(0, SWEEP_SECONDS)
    while True:
        with trio.move_on_after(FLUSH_SECONDS):
            await seen.wait_for_news()
        await trio.sleep(PAUSE_SECONDS)
        try:
            await seen.flush()
            if trio.current_time() >= next_sweep:
                await store.sweep(time.time())
        except Unavailable as error:
            log.warning("the people seen last could not be stored: %s", error)
            await trio.sleep(FLUSH_SECONDS)
        if trio.current_time() >= next_sweep:
            next_sweep = trio.current_time() + random.uniform(0.5, 1.5) * SWEEP_SECONDS


async def finish_people(seen: SeenPeople) -> None:
    """Store the people seen before the process ends, if the store is available."""
    try:
        await seen.flush()
    except Unavailable as error:
        log.warning("the people seen last could not be stored: %s", error)
