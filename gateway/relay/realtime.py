"""Realtime sessions that go past the gateway: calls, and credentials of a provider for browsers.

Calls over WebRTC and SIP (``POST /v1/realtime/calls``): their offers and answers pass here, and what is
done with them by id.

The sound does not: a client needs ``realtime: {calls: true}``, and what a call uses is known here only where a
websocket with its ``?call_id=`` is open through the gateway (ENTERPILOT/GoModel#500, openai/openai-agents-js#483).
"""

from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, quote

import attrs

from gateway.exchange.planned import PlannedRequest, as_prepared
from gateway.http.headers import Headers
from gateway.realtime.calls import (
    CALLS,
    CallIds,
    check_models,
    require_calls,
    session_of,
    with_session,
)
from gateway.realtime.events import SESSION
from gateway.realtime.models import SessionModels
from gateway.realtime.objects import ExaminedObject, Members, Tree, read_object
from gateway.realtime.shapes import OF_OPENAI
from gateway.relay.answers import PassedAnswer, Unread
from gateway.relay.relaying import JSON, RelayedRequest, Relaying
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.wire import MediaTypes
from gateway.routing.omissions import Omissions
from gateway.routing.once import ONCE
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from providers.neutral.codec import Outgoing
from streams.errors import GatewayError, invalid

_SDP: Final = "application/sdp"


async def read_call(relaying: Relaying, names: Mapping[str, str]) -> RelayedRequest:
    """The beginning of a call: an offer alone with ``?model=``, or beside the settings of its session."""
    context = relaying.context
    require_calls(context)
    kind, body = relaying.header("content-type") or "", await relaying.body()
    bare = kind.partition(";")[0].strip().lower()
    asked = dict(parse_qsl(context.asked.query)).get("model")
    if bare not in (_SDP, "multipart/form-data"):
        raise GatewayError("invalid_request", f"send the offer as {_SDP}, or as multipart/form-data", status=415)
    session = session_of(body, kind) if bare != _SDP else None
    named = None if session is None else session.texts.get("session.model")
    if named and asked and named != asked:
        raise invalid("session.model and ?model= name different models: send one of them", "model")
    if not (model := named or asked):
        raise invalid("which model? Name it as ?model= or in session.model", "model")
    incoming = relaying.noted(Incoming(context.codec.api, body, {}, model, False))
    target = relaying.plan(model, OF_OPENAI).first
    if session is not None:
        check_models(session, "session.model", SessionModels(context, target, OF_OPENAI))
    if bare != _SDP:
        body = with_session(body, kind, session)
    suffix = "/calls" + (f"?model={quote(target.model, safe='')}" if asked else "")
    return _relayed(relaying, incoming, target, body, kind, suffix)


async def read_action(relaying: Relaying, names: Mapping[str, str]) -> RelayedRequest:
    """What is done with a call, which goes to where that is."""
    context = relaying.context
    require_calls(context)
    action = relaying.arrival.asgi["path"].rpartition("/")[2]
    target, _ = CallIds.of(context).find(names["id"], f"/{action}")
    record = context.record
    record.asked, record.target, record.model = target.asked, target.name, target.model
    record.provider_api = target.api
    body, kind = await relaying.body(), relaying.header("content-type") or JSON
    if action == "accept":
        session = ExaminedObject(dict(_members(body)), SESSION)
        check_models(session, "model", SessionModels(context, target, OF_OPENAI))
        body = session.encode()
    incoming = relaying.noted(Incoming(context.codec.api, body, {}, target.asked, False))
    return _relayed(relaying, incoming, target, body, kind, "")


def _members(body: bytes) -> Members:
    members = read_object(body)
    if members is None:
        raise invalid("the body must be a JSON object: the settings of the session")
    return members


def _relayed(
    relaying: Relaying, incoming: Incoming, target: Target, body: bytes, kind: str, suffix: str
) -> RelayedRequest:
    media = MediaTypes(kind, relaying.header("accept") or "*/*")
    prepare = as_prepared(Prepared(Outgoing(body)))
    planned = PlannedRequest(incoming, Plan.to(target, ONCE), prepare, suffix=suffix, media=media)
    limit, ids = relaying.context.service.limits.event, CallIds.of(relaying.context)
    return RelayedRequest(planned, partial(_CallAnswer, limit, ids))


class _CallAnswer(PassedAnswer):
    """The ``AnswerFilter`` of a call that has begun: its id is the client's, its address the gateway's."""

    def __init__(self, event_limit: int, ids: CallIds, target: Target) -> None:
        super().__init__(Unread(), event_limit)
        self._ids = ids
        self._target = target

    def head(self, status: int, headers: Headers) -> Headers:
        places = tuple(("location", self._here(value)) for name, value in headers if name == "location")
        return (*super().head(status, headers), *places)

    def _here(self, location: str) -> str:
        native = location.partition("?")[0].rstrip("/").rpartition("/")[2]
        return f"{CALLS}/{self._ids.shown(native, self._target.entry)}"


# Credentials

_TREE: Final[Tree] = {"session": SESSION}
_MODEL: Final = "session.model"

NOT_GRANTED: Final = (
    "the key {!r} may not have credentials of the provider: `realtime: {{client_secrets: true}}` on it in the "
    "configuration lets it"
)
NO_KEY: Final = (
    "credentials of the provider are given to clients with a key alone: see client_keys in the configuration"
)


async def read_client_secret(relaying: Relaying, names: Mapping[str, str]) -> RelayedRequest:
    """A request for a credential, with the model of its session in the provider's words."""
    context = relaying.context
    client = context.asked.client
    if not context.service.authenticator.realtime_grant(client).client_secrets:
        raise GatewayError("permission", NO_KEY if client is None else NOT_GRANTED.format(client))
    incoming = await relaying.json()
    session = ExaminedObject(dict(incoming.members), _TREE)
    if not (model := session.texts.get(_MODEL)):
        raise invalid("session.model is required: it says whose credential this is to be", _MODEL)
    context.record.asked = model
    target = relaying.plan(model, OF_OPENAI).first
    models = SessionModels(context, target, OF_OPENAI)
    for at, name in session.texts.items():
        if at != _MODEL:
            models.further(at, name)
    planned = relaying.planned(incoming, Plan.to(target, ONCE), partial(_prepared, session, incoming), None)
    return RelayedRequest(attrs.evolve(planned, suffix="/client_secrets"), relaying.passed())


def _prepared(session: ExaminedObject, incoming: Incoming, target: Target, left: Omissions) -> Prepared:
    session.put(_MODEL, target.model)
    return Prepared(Outgoing(session.encode()), left=left)
