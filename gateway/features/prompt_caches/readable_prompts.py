"""How much of a prompt the caches of a route's targets hold, so that a conversation goes where most of it is.

Imported with the first prompt that matters for a choice."""

import time
from typing import TYPE_CHECKING, Final

from gateway.balancing.balancer import NOTHING_READABLE, Readable
from gateway.exchange.context import ExchangeContext
from gateway.features.prompt_caches.caching import PromptCaching
from gateway.features.prompt_caches.noted_prompts import noted_exchange
from gateway.features.prompt_caches.sent_prompts import possible_request
from gateway.request.parse import Incoming
from gateway.routing.plan import Plan

if TYPE_CHECKING:
    from gateway.features.prompt_caches.conversations import Parent
    from gateway.features.prompt_caches.requests import ReadPrompts

MOST_TARGETS: Final = 16
"""Targets whose caches are compared; each takes some microseconds."""


async def find_readable(caching: PromptCaching, context: ExchangeContext, incoming: Incoming, plan: Plan) -> Readable:
    """Return how many tokens of ``incoming`` the cache of each target of ``plan`` can serve; nothing after an error.

    This covers only targets with the client's API: the others' prompts are not translated yet. A large request is
    read in a thread."""
    try:
        return await _find_readable(context, caching, incoming, plan)
    except Exception:  # the boundary: an error here must not fail the request
        caching.note_error()
        return NOTHING_READABLE


async def _find_readable(context: ExchangeContext, caching: PromptCaching, incoming: Incoming, plan: Plan) -> Readable:
    tracker, now = await caching.tracker(__name__), time.monotonic()
    prompts: dict[object, tuple[ReadPrompts, Parent | None] | None] = {}
    found: dict[bytes, int] = {}
    for target in [one for one in plan.targets if one.lane == "byte"][:MOST_TARGETS]:
        sent = possible_request(context, incoming, target, now)
        key = id(target.caching), target.betas  # all on which the reading of the prompt depends
        if key not in prompts:
            read = await tracker.reader.read_in_thread(tracker.reader.open(sent, incoming.size))
            prompts[key] = None if read is None else (read, tracker.parents.find(sent, read))
        if (prompt := prompts[key]) is not None and (tokens := tracker.readable_at(sent, *prompt)):
            found[target.identity.place] = tokens
    noted_exchange(caching, context.record).read = [one[0] for one in prompts.values() if one is not None]
    return found
