"""The parts of a sent request that the tracker of prompts needs. Imported with the first prompt that matters."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from gateway.exchange.context import ExchangeContext
from gateway.exchange.target_request import TargetRequest
from gateway.http.headers import Headers
from gateway.prompt_caches.followed import Members, SentRequest
from gateway.request.client_request import with_betas
from gateway.request.parse import Incoming
from gateway.request.sessions import named_session
from gateway.routing.target import Target
from providers.apis import CODECS

_TRANSLATION: Final = "translation"


def sent_request(
    context: ExchangeContext, target_request: TargetRequest, original: Incoming | None, sent_at: float
) -> tuple[SentRequest, int]:
    """Return the request of an attempt for the tracker, and the bytes that are read.

    ``original`` is the client's request if steps have changed it."""
    request, target, outgoing = target_request.request, target_request.target, target_request.prepared.outgoing
    incoming, api = request.incoming, context.codec.api
    is_unchanged = target.lane == "byte" and not outgoing.edits and original is None and not incoming.earlier
    body: bytes | Members = incoming.members if is_unchanged else outgoing.body
    headers = _as_mapping((*target_request.sent.headers, *outgoing.headers))
    session = named_session(dict(context.client_request.headers), incoming)
    identity, credential = target.identity, context.forwarded_credential(target)
    sent = SentRequest(
        context.service.admission.holder(context.client_request.client, context.client_request.headers),
        target.api,
        body,
        headers,
        target.caching,
        identity.place if credential is None else identity.with_credential(credential).place,
        target.place,
        sent_at,
        api,
        None if is_unchanged else partial(_client_members, incoming if original is None else original),
        incoming.model,
        None if session is None else session[1],
        () if is_unchanged else _edits(context, target_request),
        _move(context, target_request),
    )
    return sent, len(outgoing.body) + (0 if is_unchanged else incoming.size)


def possible_request(context: ExchangeContext, incoming: Incoming, target: Target, sent_at: float) -> SentRequest:
    """Return the request of the client as ``target`` would receive it, if it speaks the client's API."""
    client_request = with_betas(context.client_request, target.betas)
    session = named_session(dict(client_request.headers), incoming)
    identity, credential = target.identity, context.forwarded_credential(target)
    return SentRequest(
        context.service.admission.holder(client_request.client, client_request.headers),
        target.api,
        incoming.members,
        _as_mapping(client_request.headers),
        target.caching,
        identity.place if credential is None else identity.with_credential(credential).place,
        target.place,
        sent_at,
        context.codec.api,
        None,
        incoming.model,
        None if session is None else session[1],
    )


def _client_members(incoming: Incoming) -> Members:
    """Return the members of the client's request, with the stored turns that it continues."""
    if not incoming.earlier:
        return incoming.members
    name = CODECS[incoming.api].wire.conversation.member
    new = incoming.members.get(name)
    items = [*incoming.earlier, *(() if new is None else _items(new))]
    return {**incoming.members, name: msgspec.Raw(msgspec.json.encode(items))}


def _items(raw: msgspec.Raw) -> list[object]:
    value = msgspec.json.decode(raw)
    return value if isinstance(value, list) else [{"role": "user", "content": value}]


def _edits(context: ExchangeContext, target_request: TargetRequest) -> tuple[str, ...]:
    """Return the names of the steps and keys by which the gateway changed the request, and of members that it lost."""
    outgoing, steps = target_request.prepared.outgoing, context.record.steps
    masked = () if steps is None else (f"step {one.name}" for one in steps.work() if one.outcome == "masked")
    named = dict.fromkeys((*masked, *outgoing.by_operator, *outgoing.adapted, *outgoing.dropped))
    return tuple(named) or ((_TRANSLATION,) if target_request.target.lane == "hub" else ())


def _move(context: ExchangeContext, target_request: TargetRequest) -> str:
    """Return why the attempt is at this target: the failure of the last one, or the state of the pinned member."""
    failed = [one for one in context.record.bill.attempt_records if one.target != target_request.target.place]
    return failed[-1].reason if failed else ""


def _as_mapping(headers: Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers}
