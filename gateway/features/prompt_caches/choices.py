"""Prompts that are read before they are sent: for the choice of a target, and for a provider's own diagnosis of a miss.

Imported with the first prompt that matters for a choice, or that is sent to an entry with ``diagnose``."""

import time
from typing import TYPE_CHECKING, Final

from msgspec import structs

from gateway.balancing.balancer import NOTHING_READABLE, Readable
from gateway.features.prompt_caches.attempts import PromptCaching, noted_exchange
from gateway.features.prompt_caches.sent_prompts import possible_request
from gateway.http.offload import offload
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.seams.edit_sent import ExchangeFacts, PlannedFacts
from providers.catalog.prompt_caching import CachingRow
from providers.neutral.draft import Draft

if TYPE_CHECKING:
    from gateway.features.prompt_caches.conversations import Parent
    from gateway.features.prompt_caches.requests import ReadPrompts

MOST_TARGETS: Final = 16
"""Targets whose caches are compared; each takes some microseconds."""


async def find_readable(caching: PromptCaching, context: ExchangeFacts, incoming: Incoming, plan: Plan) -> Readable:
    """Return how many tokens of ``incoming`` the cache of each target of ``plan`` can serve; nothing after an error.

    This covers only targets with the client's API: the others' prompts are not translated yet. A large request is
    read in a thread."""
    try:
        return await _find_readable(context, caching, incoming, plan)
    except Exception:  # the boundary: an error here must not fail the request
        caching.note_error()
        return NOTHING_READABLE


async def _find_readable(context: ExchangeFacts, caching: PromptCaching, incoming: Incoming, plan: Plan) -> Readable:
    tracker, now = await caching.tracker(), time.monotonic()
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


async def request_diagnosis(
    caching: PromptCaching, prepared: Prepared, target: Target, context: ExchangeFacts, request: PlannedFacts
) -> Prepared:
    """Return ``prepared`` with a request for a diagnosis, unchanged if that fails or the provider has none."""
    if (row := target.caching) is None or row.diagnosis_member is None:
        return prepared
    try:
        found = await _find_response(caching, target, context, request.original or request.incoming)
        return await offload(prepared.size, with_diagnosis, prepared, target, row, found)
    except Exception:  # the boundary: an error here must not fail the request
        caching.note_error()
        return prepared


async def _find_response(
    caching: PromptCaching, target: Target, context: ExchangeFacts, incoming: Incoming
) -> str | None:
    """Return the id of the response that the request continues, ``None`` for a first turn or another target's."""
    tracker = await caching.tracker()
    sent = structs.replace(possible_request(context, incoming, target, time.monotonic()), api=context.codec.api)
    read = await tracker.reader.read_in_thread(tracker.reader.open(sent, incoming.size))
    parent = None if read is None else tracker.parents.find(sent, read)
    if parent is None or not parent.is_latest or parent.conversation.scope.target != sent.target:
        return None
    return parent.conversation.response_id or None


def with_diagnosis(prepared: Prepared, target: Target, row: CachingRow, response_id: str | None) -> Prepared:
    """Return ``prepared`` with a request for a diagnosis, which compares it with the response ``response_id``.

    Some providers require such a request from the first turn on, which has no earlier response (``None``).
    ``prepared`` stays unchanged if the client requests a diagnosis itself, or the provider offers or accepts none."""
    if row.diagnosis_member is None or (response_id is None and not row.diagnoses_from_start):
        return prepared
    member, _, inner = row.diagnosis_member.partition(".")
    draft = Draft.of(prepared.outgoing.body)
    if draft.raw(member) is not None or prepared.refuses(target, member):
        return prepared
    draft.put(member, {inner: response_id})
    return prepared.with_addition(member, body=draft.encode())
