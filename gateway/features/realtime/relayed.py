"""Realtime sessions that bypass the gateway: calls, and provider credentials for browsers.

For calls over WebRTC and SIP (``POST /v1/realtime/calls``), offers, answers and later actions pass here, audio does
not. A client needs ``realtime: {calls: true}``. A call's usage is known only while a websocket with its ``?call_id=``
is open through the gateway (ENTERPILOT/GoModel#500, openai/openai-agents-js#483)."""

from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, quote

import attrs

from gateway.allowances.reservation import CountedAs
from gateway.exchange.planned import PlannedRequest, as_prepared
from gateway.features.realtime.calls import (
    CALLS,
    check_models,
    read_session,
    replace_session,
    require_calls,
)
from gateway.features.realtime.events import SESSION
from gateway.features.realtime.feature import grant_of
from gateway.features.realtime.models import ENDPOINT, SessionModels
from gateway.features.realtime.objects import ExaminedObject, Members, Tree, read_object
from gateway.features.realtime.session_ids import SessionIds
from gateway.features.realtime.shapes import OF_OPENAI
from gateway.http.headers import Headers
from gateway.relay.answers import NullReader, PassedAnswer
from gateway.relay.relaying import JSON, InboundRequest, RelayedRequest
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.wire import MediaTypes
from gateway.routing.plan import Plan
from gateway.routing.target import Omissions, Target
from providers.errors.answer_form import ANY, TEXT, AnswerForm
from providers.neutral.codec import Outgoing
from streams.errors import GatewayError, invalid

_SDP: Final = "application/sdp"


async def read_call(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read the start of a call: an offer with ``?model=``, or with its session's settings."""
    context = inbound.context
    require_calls(context)
    kind, body = inbound.header("content-type") or "", await inbound.read_body()
    media_type = kind.partition(";")[0].strip().lower()
    query_model = dict(parse_qsl(context.client_request.query)).get("model")
    if media_type not in (_SDP, "multipart/form-data"):
        raise GatewayError("invalid_request", f"send the offer as {_SDP}, or as multipart/form-data", status=415)
    session = read_session(body, kind) if media_type != _SDP else None
    session_model = None if session is None else session.texts.get("session.model")
    if session_model and query_model and session_model != query_model:
        raise invalid("session.model and ?model= differ: send only one of them", "model")
    if not (model := session_model or query_model):
        raise invalid("the model is missing: add ?model= or session.model", "model")
    incoming = inbound.record_request(Incoming(context.codec.api, body, {}, model, False))
    target = inbound.plan(model, OF_OPENAI).first
    if session is not None:
        check_models(session, "session.model", SessionModels(context, target, OF_OPENAI))
    if media_type != _SDP:
        body = replace_session(body, kind, session)
    suffix = "/calls" + (f"?model={quote(target.model, safe='')}" if query_model else "")
    return _relayed_call(inbound, incoming, target, body, kind, suffix)


async def read_action(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read an action on a call, such as ``hangup``, for the call's provider."""
    context = inbound.context
    require_calls(context)
    action = inbound.arrival.asgi["path"].rpartition("/")[2]
    target, _ = SessionIds.of(context, ENDPOINT).find(names["id"], "call_id", f"/calls/{{id}}/{action}")
    record = context.record
    record.requested_model, record.target, record.model = target.requested_name, target.name, target.model
    record.provider_api = target.api
    body, kind = await inbound.read_body(), inbound.header("content-type") or JSON
    if action == "accept":
        session = ExaminedObject(dict(_members(body)), SESSION)
        check_models(session, "model", SessionModels(context, target, OF_OPENAI))
        body = session.encode()
    incoming = inbound.record_request(Incoming(context.codec.api, body, {}, target.requested_name, False))
    counted_as = CountedAs.ANSWER if action == "accept" else CountedAs.LATER  # a client without budget can hang up
    return _relayed_call(inbound, incoming, target, body, kind, "", counted_as)


def _members(body: bytes) -> Members:
    members = read_object(body)
    if members is None:
        raise invalid("the request body must be a JSON object with the session's settings")
    return members


def _relayed_call(
    inbound: InboundRequest,
    incoming: Incoming,
    target: Target,
    body: bytes,
    kind: str,
    suffix: str,
    counted_as: CountedAs = CountedAs.ANSWER,
) -> RelayedRequest:
    media = MediaTypes(kind, inbound.header("accept") or "*/*")
    prepare = as_prepared(Prepared(Outgoing(body)))
    planned = PlannedRequest(incoming, Plan.once(target), prepare, suffix=suffix, media=media, counted_as=counted_as)
    limit, ids = inbound.context.service.settings.limits.event, SessionIds.of(inbound.context, ENDPOINT)
    form = TEXT if suffix else ANY  # a session description; providers confirm actions without a body
    return RelayedRequest(planned, partial(_CallAnswer, limit, ids, form))


class _CallAnswer(PassedAnswer):
    """A filter that replaces the URL of a new call by the gateway's, with the client's id."""

    def __init__(self, event_limit: int, ids: SessionIds, form: AnswerForm, target: Target) -> None:
        super().__init__(NullReader(), event_limit, form=form)
        self._ids = ids
        self._target = target

    def head(self, status: int, headers: Headers) -> Headers:
        places = tuple(("location", self._gateway_location(value)) for name, value in headers if name == "location")
        return (*super().head(status, headers), *places)

    def _gateway_location(self, location: str) -> str:
        native = location.partition("?")[0].rstrip("/").rpartition("/")[2]
        return f"{CALLS}/{self._ids.client_id(self._target.entry, native)}"


# Credentials

_TREE: Final[Tree] = {"session": SESSION}
_MODEL: Final = "session.model"

NOT_GRANTED: Final = (
    "the key {!r} may not get credentials of the provider: to allow it, set `realtime: {{client_secrets: true}}` "
    "for the key in the configuration"
)
NO_KEY: Final = "only clients with a key may get credentials of the provider: set client_keys in the configuration"


async def read_client_secret(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a request for a credential, with the session's model replaced by the provider's name."""
    context = inbound.context
    client = context.client_request.client
    if not grant_of(context.service.authenticator.rights_of(client)).client_secrets:
        raise GatewayError("permission", NO_KEY if client is None else NOT_GRANTED.format(client))
    incoming = await inbound.read_json()
    session = ExaminedObject(dict(incoming.members), _TREE)
    if not (model := session.texts.get(_MODEL)):
        raise invalid("session.model is required: it determines the provider of the credential", _MODEL)
    context.record.requested_model = model
    target = inbound.plan(model, OF_OPENAI).first
    models = SessionModels(context, target, OF_OPENAI)
    for at, name in session.texts.items():
        if at != _MODEL:
            models.check_other(at, name)
    planned = inbound.plan_json(incoming, Plan.once(target), partial(_prepare_secret, session, incoming))
    return RelayedRequest(attrs.evolve(planned, suffix="/client_secrets"), inbound.unchanged_filters())


def _prepare_secret(session: ExaminedObject, incoming: Incoming, target: Target, omissions: Omissions) -> Prepared:
    session.put(_MODEL, target.model)
    return Prepared(Outgoing(session.encode()), omissions=omissions)
