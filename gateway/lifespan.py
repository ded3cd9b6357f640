"""The tasks of a process that run as long as its app."""

import logging
from functools import partial
from typing import Final

import trio

from gateway.exchange.service import Service
from gateway.open_features import RunningFeatures
from gateway.probing import Prober
from gateway.serving.http_app import App
from gateway.stores.errors import Unavailable
from gateway.stores.store import Store

log = logging.getLogger("trigate")

SWEEP: Final = 60.0
"""Seconds between two removals of expired entries."""

FLUSH: Final = 5.0
"""Seconds for the records that wait for observers when the process ends."""
CUT_FLUSH: Final = 2.0
"""Seconds for them if the drain has used all its time."""


def add_process_tasks(app: App, service: Service, running: RunningFeatures) -> None:
    """Start the process's tasks with ``app``, and end them in order with it: background turns, the removal of expired
    state, probes and counters, and those of features."""
    store, background = service.turns.store, service.turns.background
    watching = trio.CancelScope()

    async def observe() -> None:
        with watching:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_summarise, service)
                nursery.start_soon(Prober(service.health).run, service.upstream)
                for kept in service.hooks.kept:
                    nursery.start_soon(kept.query_runs, service)

    counters = service.allowances.counters

    async def begin() -> None:
        service.upstream.begin()
        if counters.remote is not None:
            app.nursery.start_soon(counters.remote.run)
            await counters.remote.read_clock()  # periods begin by it
        running.use(service.opened.features)
        await running.start(app.nursery)
        hashing = partial(trio.to_thread.run_sync, service.router.hash_keys, trio.from_thread.check_cancelled)
        app.nursery.start_soon(hashing)
        app.nursery.start_soon(observe)
        background.nursery = app.nursery
        if store is not None:
            app.nursery.start_soon(_sweep, store)

    async def end() -> None:
        watching.cancel()
        service.ledger.audit.summarise()
        await background.finish()
        await service.ledger.finish(CUT_FLUSH if service.lifecycle.is_cut else FLUSH)
        await running.finish()
        if counters.remote is not None:
            await counters.remote.finish()
        if store is not None:
            app.nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await store.aclose()

    app.before_serving.append(begin)
    app.after_serving += (end, service.upstream.aclose)


async def _summarise(service: Service) -> None:
    """Log the audit's counts once a minute."""
    while True:
        await trio.sleep(SWEEP)
        service.ledger.audit.summarise()


async def _sweep(store: Store) -> None:
    """Remove expired entries once a minute. Never raises, because an error would end the app's nursery."""
    while True:
        await trio.sleep(SWEEP)
        try:
            await store.sweep()
        except Unavailable as error:
            log.warning("could not delete expired data from the store: %s", error)
