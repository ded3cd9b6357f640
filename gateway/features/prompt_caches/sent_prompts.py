"""The parts of a request that the tracker of prompts needs: of one that was sent, and of one that is read before, for
the choice of a target or for a provider's own diagnosis of a miss. Imported with the first prompt that matters."""

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import structs

from gateway.balancing.balancer import Readable
from gateway.exchange.conditions import TargetConditions
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.target_request import TargetRequest
from gateway.features.prompt_caches.conversations import UNKNOWN_RULES
from gateway.features.prompt_caches.requests import Members, SentRequest
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.request.client_request import with_betas
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.sessions import named_session
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.catalog.prompt_caching import CachingRow
from providers.neutral.draft import Draft

if TYPE_CHECKING:
    from gateway.features.prompt_caches.conversations import Parent
    from gateway.features.prompt_caches.requests import ReadPrompts
    from gateway.features.prompt_caches.tracker import PromptTracker

_TRANSLATION: Final = "translation"


def sent_request(target_request: TargetRequest, sent_at: float, *, is_diagnosed: bool) -> tuple[SentRequest, int]:
    """Return the request of an attempt for the tracker, and the bytes that are read."""
    context, target, outgoing = target_request.context, target_request.target, target_request.prepared.outgoing
    incoming, original = target_request.request.incoming, target_request.request.original
    headers = (*target_request.sent.headers, *outgoing.headers)
    sent = _request_for(context, target, incoming, headers, sent_at, _move(context, target_request), is_diagnosed)
    if target.lane == "byte" and not outgoing.edits and original is None and not incoming.earlier:
        return sent, len(outgoing.body)
    own = incoming if original is None else original
    changed = structs.replace(
        sent,
        body=outgoing.body,
        client_members=partial(_with_earlier, own) if own.earlier else own.members,
        client_earlier=len(own.earlier_items),
        edits=_edits(context, target_request),
    )
    return changed, len(outgoing.body) + incoming.size


def possible_request(context: ExchangeContext, incoming: Incoming, target: Target, sent_at: float) -> SentRequest:
    """Return the request of the client as ``target`` would receive it, if it speaks the client's API."""
    headers = with_betas(context.client_request, target.betas).headers
    return _request_for(context, target, incoming, headers, sent_at)


def _request_for(
    context: ExchangeContext,
    target: Target,
    incoming: Incoming,
    headers: Headers,
    sent_at: float,
    move: str = "",
    is_diagnosed: bool = False,
) -> SentRequest:
    """Return the client's request that is sent to ``target`` unchanged, with ``headers``."""
    client_request = context.client_request
    session = named_session(dict(client_request.headers), incoming)
    identity, credential = target.identity, context.forwarded_credential(target)
    return SentRequest(
        context.holder,
        target.api,
        incoming.members,
        {name.lower(): value for name, value in headers},
        target.caching or UNKNOWN_RULES,
        identity.place if credential is None else identity.with_credential(credential).place,
        target.place,
        sent_at,
        context.codec.api,
        requested_model=incoming.model,
        session=None if session is None else session[1],
        move=move,
        is_diagnosed=is_diagnosed,
    )


def _with_earlier(incoming: Incoming) -> Members:
    """Return the members of the client's request, with the stored turns that it continues."""
    name = CODECS[incoming.api].wire.conversation.member
    new = incoming.members.get(name)
    items = [*incoming.earlier_items, *(() if new is None else _items(new))]
    return {**incoming.members, name: msgspec.Raw(msgspec.json.encode(items))}


def _items(raw: msgspec.Raw) -> list[object]:
    value = msgspec.json.decode(raw)
    return value if isinstance(value, list) else [{"role": "user", "content": value}]


def _edits(context: ExchangeContext, target_request: TargetRequest) -> tuple[str, ...]:
    """Return the names of the steps and keys by which the gateway changed the request, and of members that it lost."""
    outgoing, notes = target_request.prepared.outgoing, context.record.notes.values()
    edits = [edit for note in notes for edit in note.edits]
    named = dict.fromkeys((*edits, *outgoing.by_operator, *outgoing.adapted, *outgoing.dropped))
    return tuple(named) or ((_TRANSLATION,) if target_request.target.lane == "hub" else ())


def _move(context: ExchangeContext, target_request: TargetRequest) -> str:
    """Return the reason for the attempt's target: the failure of the previous attempt, or ``out`` if the first target
    is unavailable, otherwise "".

    The balancer reports other reasons when the response begins."""
    target, plan = target_request.target, target_request.request.plan
    failed = [one for one in context.record.bill.attempt_records if one.target != target.place]
    if failed:
        return failed[-1].reason
    first = plan.first
    is_out = first is not target and TargetConditions(context, plan).outage(first, alone=False) is not None
    return "out" if is_out else ""


# Before a request is sent


MOST_TARGETS: Final = 16
"""Targets whose caches are compared; each takes some microseconds."""


async def find_readable(
    tracker: "PromptTracker", context: ExchangeContext, incoming: Incoming, plan: Plan
) -> tuple[Readable, Sequence["ReadPrompts"]]:
    """Return how many tokens of ``incoming`` the cache of each target of ``plan`` can serve, and its prompts.

    This covers only targets with the client's API: the others' prompts are not translated yet. A large request is
    read in a thread."""
    now = time.monotonic()
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
    return found, [one[0] for one in prompts.values() if one is not None]


async def request_diagnosis(
    tracker: "PromptTracker", prepared: Prepared, target: Target, context: ExchangeContext, request: PlannedRequest
) -> Prepared:
    """Return ``prepared`` with a request for a diagnosis, unchanged if the provider has none."""
    if (row := target.caching) is None or row.diagnosis_member is None:
        return prepared
    found = await _find_response(tracker, target, context, request.original or request.incoming)
    return await offload(prepared.size, with_diagnosis, prepared, target, row, found)


async def _find_response(
    tracker: "PromptTracker", target: Target, context: ExchangeContext, incoming: Incoming
) -> str | None:
    """Return the id of the response that the request continues, ``None`` for a first turn or another target's."""
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
