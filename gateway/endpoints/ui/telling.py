"""The live view's server-sent events for a viewer, whether it looks at this process or by way of another worker."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count, islice
from typing import Any, Final, TypeAlias

import trio

from gateway import __version__
from gateway.config.loading import Config
from gateway.config.redaction import FETCHED, Secrets, findable, redact, secrets_in
from gateway.endpoints.health import limit_fields, limits_seen
from gateway.exchange.service import Service
from gateway.logs.masking import Mask
from gateway.telemetry.live import LiveEvent, LiveView, Subscription, View
from streams import sse

TICK: Final = 0.5
"""Seconds between two pieces of news."""

SELDOM: Final = 4
"""Pieces of news after which there are news of limits: there may be thousands."""

BATCH: Final = 32
"""Events of an opened stream that are sent at once."""

Say: TypeAlias = Callable[[str, Any], bytes]
"""Makes an event, of its name and its data."""

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends an event to a viewer, as soon as that one takes it."""


_LISTS: Final = frozenset({"all", "news", "ended"})
"""Events of names and log lines alone, which have no key that the log does not have. What was said in a stream may
have something that only looks like one."""


def saying(config: Config, mask: Mask) -> Say:
    """Makes events with none of the credentials of ``config`` in them, wherever they come from; in rows and lines with
    none of the keys that ``mask`` finds in the log."""
    return partial(_said, findable(secrets_in(config)), mask)


def _said(secrets: Secrets, mask: Mask, name: str, value: Any) -> bytes:
    data = redact(sse.event(name, value), secrets + FETCHED.words)
    return mask(data.decode()).encode() if name in _LISTS else data


async def tell_news(service: Service, live_view: LiveView, say: Say, client: str | None, send: Send) -> None:
    """Everything once, then what is different, every ``TICK`` seconds; to the end of the drain, or until there is a new
    configuration for who looks, which may have other keys. Of the exchanges of ``client`` alone, if there is one."""
    replaced = service.replaced.of(client)
    view = View(live_view, client)
    await live_view.look()
    limits = await _limits(service, client)
    await send(say("all", {"version": __version__, **limits, **_out(service, client), **view.first()}))
    for tick in count(1):
        if replaced.is_set():
            return
        await trio.sleep(TICK)
        await live_view.look()
        draining = service.lifecycle.draining
        limits = {} if tick % SELDOM else await _limits(service, client)
        await send(say("news", {"draining": draining, **limits, **_out(service, client), **view.next()}))
        if draining and not live_view.in_flight:
            return


def _out(service: Service, client: str | None) -> dict[str, Any]:
    """The targets that are out, for those who may see what concerns all clients."""
    if client is not None:
        return {}
    return {"out": [one.fields(time.time()) for one in service.health.target_states() if one.state != "in"]}


async def _limits(service: Service, client: str | None) -> dict[str, Any]:
    """Limits and budgets, each in the order in which the page takes it."""
    found = await limits_seen(service.allowances, client)
    return {"limits": [list(limit_fields(one).values()) for one in found]}


async def tell_stream(tap: Subscription, say: Say, send: Send) -> None:
    """Send what has passed, what passes, and how it ended."""
    prompt = {} if tap.prompt is None else {"prompt": tap.prompt.decode("utf-8", "replace"), "bytes": tap.prompt_bytes}
    await send(say("opened", {"kept": tap.kept, **prompt}))
    while before := tuple(islice(tap.before, BATCH)):
        await send(say("passed", [_spelled(one) for one in before]))
    while passed := await _batch(tap):
        await send(say("passed", [_spelled(one) for one in passed]))
    await send(say("ended", {"lost": tap.lost, "line": tap.line}))


async def _batch(tap: Subscription) -> list[LiveEvent]:
    """The events that wait, at least one; none at the end."""
    found: list[LiveEvent] = []
    try:
        found.append(await tap.events.receive())
        while len(found) < BATCH:
            found.append(tap.events.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        pass
    return found


def _spelled(passed: LiveEvent) -> dict[str, Any]:
    came, went = passed.sizes
    return {
        "at": round(passed.at, 3), "came": passed.came, "went": passed.went, "note": passed.note, "lost": passed.lost,
        "left_out": passed.left_out, "came_bytes": came, "went_bytes": went,
    }  # fmt: skip
