"""The parts of a sent request that the tracker of prompts needs. Imported with the first prompt that matters."""

from functools import partial
from typing import Final

import msgspec

from gateway.exchange.conditions import TargetConditions
from gateway.exchange.context import ExchangeContext
from gateway.exchange.target_request import TargetRequest
from gateway.features.prompt_caches.conversations import UNKNOWN_RULES
from gateway.features.prompt_caches.requests import Members, SentRequest
from gateway.http.headers import Headers
from gateway.request.client_request import with_betas
from gateway.request.parse import Incoming
from gateway.request.sessions import named_session
from gateway.routing.target import Target
from gateway.seams.edit_sent import ExchangeFacts
from providers.apis import CODECS

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
    changed = msgspec.structs.replace(
        sent,
        body=outgoing.body,
        client_members=partial(_with_earlier, own) if own.earlier else own.members,
        client_earlier=len(own.earlier_items),
        edits=_edits(context, target_request),
    )
    return changed, len(outgoing.body) + incoming.size


def possible_request(context: ExchangeFacts, incoming: Incoming, target: Target, sent_at: float) -> SentRequest:
    """Return the request of the client as ``target`` would receive it, if it speaks the client's API."""
    headers = with_betas(context.client_request, target.betas).headers
    return _request_for(context, target, incoming, headers, sent_at)


def _request_for(
    context: ExchangeFacts,
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
