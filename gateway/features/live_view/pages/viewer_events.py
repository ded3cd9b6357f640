"""The live view's server-sent events for a viewer of this process or another worker."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count, islice
from typing import Any, Final, TypeAlias

import attrs
import trio

from gateway import __version__
from gateway.endpoints.health import limit_fields, visible_limits
from gateway.features.live_view.live import LiveEvent, LiveView, Subscription, View
from gateway.health.health import without_covered
from gateway.logs.masking import Mask
from gateway.seams.running import Ports
from streams import sse

TICK: Final = 0.5
"""Seconds between news."""

LIMITS_EVERY: Final = 4
"""Every so many news include limits: there may be thousands."""

BATCH: Final = 32
"""Events of an opened stream sent together."""

MakeEvent: TypeAlias = Callable[[str, Any], bytes]
"""A function that makes an event from its name and data."""

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
"""A function that sends an event to a viewer, at the viewer's pace."""


_LISTS: Final = frozenset({"all", "news", "ended"})
"""Events with only names and log lines, in which keys are masked as in the log. Streams' text is left alone, because
parts may merely look like keys."""


def event_maker(mask: Mask) -> MakeEvent:
    """Return a function that makes events without the secrets of ``mask``, which also masks rows and log lines."""
    return partial(_make_event, mask)


def _make_event(mask: Mask, name: str, value: Any) -> bytes:
    data = mask.redact(sse.event(name, value))
    return mask(data.decode()).encode() if name in _LISTS else data


async def send_news(live_view: LiveView, make_event: MakeEvent, client: str | None, send: Send) -> None:
    """Send everything once, then changes every ``TICK`` seconds, of ``client``'s exchanges alone if given.

    It ends with the drain."""
    view, ports = View(live_view, client), live_view.ports
    await live_view.refresh()
    limits = await _limits(ports, client)
    await send(
        make_event("all", {"version": __version__, **limits, **_unavailable_targets(ports, client), **view.first()})
    )
    for tick in count(1):
        await trio.sleep(TICK)
        await live_view.refresh()
        draining = ports.lifecycle.draining
        limits = {} if tick % LIMITS_EVERY else await _limits(ports, client)
        await send(
            make_event("news", {"draining": draining, **limits, **_unavailable_targets(ports, client), **view.next()})
        )
        if draining and not live_view.in_flight:
            return


def _unavailable_targets(ports: Ports, client: str | None) -> dict[str, Any]:
    """Return the unavailable targets, for viewers who may see all clients."""
    if client is not None:
        return {}
    out = [one for one in ports.health.target_states() if one.state != "in"]
    return {"out": [one.fields(time.time()) for one in without_covered(out)]}


async def _limits(ports: Ports, client: str | None) -> dict[str, Any]:
    """Return limits and budgets, each as a list in the page's order."""
    found = await visible_limits(ports.allowances, client)
    return {"limits": [list(limit_fields(one).values()) for one in found]}


async def send_stream(subscription: Subscription, make_event: MakeEvent, send: Send) -> None:
    """Send a stream's past and future events, and its end."""
    prompt = (
        {}
        if subscription.prompt is None
        else {"prompt": subscription.prompt.decode("utf-8", "replace"), "bytes": subscription.prompt_bytes}
    )
    await send(make_event("opened", {"kept": subscription.kept, **prompt, **_texts(subscription)}))
    while before := tuple(islice(subscription.before, BATCH)):
        await send(make_event("passed", [_event_fields(one) for one in before]))
    while passed := await _batch(subscription):
        await send(make_event("passed", [_event_fields(one) for one in passed]))
    await send(
        make_event("ended", {"lost": subscription.lost_count, "line": subscription.line, **_texts(subscription)})
    )


def _texts(subscription: Subscription) -> dict[str, Any]:
    """Return the texts at the difference that broke the prompt's cache; nothing if texts are switched off."""
    if (texts := subscription.texts) is None or not texts.is_open:
        return {}
    return {"texts": True} if texts.excerpts is None else {"texts": True, "difference": attrs.asdict(texts.excerpts)}


async def _batch(subscription: Subscription) -> list[LiveEvent]:
    """Return the waiting events, at least one; none at the end."""
    found: list[LiveEvent] = []
    try:
        found.append(await subscription.events.receive())
        while len(found) < BATCH:
            found.append(subscription.events.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        pass
    return found


def _event_fields(event: LiveEvent) -> dict[str, Any]:
    received, sent = event.sizes
    return {
        "at": round(event.at, 3), "came": event.received, "went": event.sent, "note": event.note, "lost": event.lost,
        "left_out": event.left_out, "came_bytes": received, "went_bytes": sent,
    }  # fmt: skip
