"""The paths of realtime sessions: a websocket on each, and behind it one at a provider."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qsl, quote

import attrs
import trio
from quart import Response as QuartResponse
from quart import websocket
from quart_trio import QuartTrio

from gateway.endpoints.answers import open_record
from gateway.endpoints.websocket.handshake import WebSocketArrival, check_key
from gateway.exchange.context import ExchangeContext
from gateway.exchange.exchange import JSON_HEADERS, own_headers
from gateway.exchange.service import Service
from gateway.http.headers import Headers, as_text
from gateway.http.offload import CLIENT
from gateway.http.query_key import moved
from gateway.http.response import Response
from gateway.ledger.record import Record
from gateway.realtime.calls import CallIds, require_calls
from gateway.realtime.closing import LOST, STALLED
from gateway.realtime.dialing import Dialing, OpenProvider
from gateway.realtime.gemini_live import asked_for
from gateway.realtime.inbox import ClientInbox
from gateway.realtime.meter import Meter
from gateway.realtime.models import ENDPOINT, WHICH, SessionModels, only_target, session_target
from gateway.realtime.resumption import ResumableSessions
from gateway.realtime.session import LARGEST, RealtimeSession, SessionLimits, refused_for
from gateway.realtime.shapes import OF_GEMINI, OF_OPENAI, SHAPES, RealtimeShape
from gateway.realtime.subprotocols import Offered, upstream_protocols, with_key
from gateway.request.client_request import ClientRequest
from gateway.request.public_errors import MISTAKE
from gateway.routing.target import Target
from gateway.serving.asgi_extensions import ON_ARRIVING, TAKE_MESSAGES
from gateway.serving.quart_views import through_quart
from gateway.upstream.websocket import Piece
from providers.apis import CODECS
from streams.errors import GatewayError, invalid
from streams.events import Api, ErrorInfo

if TYPE_CHECKING:
    from gateway.serving.asgi_extensions import OnArriving, TakeMessages

log = logging.getLogger("trigate")

OPENAI_PATHS: Final = ("/v1/realtime", "/openai/realtime")
GEMINI_PATHS: Final = tuple(
    f"/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent"
    for version in ("v1beta", "v1alpha")
)

_PATHS: Final[Mapping[Api, tuple[str, ...]]] = {"chat": OPENAI_PATHS, "gemini": GEMINI_PATHS}

SETUP_SECONDS: Final = 30.0
"""Within which a client of Gemini's says which model it wants."""

_OURS: Final = frozenset(("model", "deployment", "api-version", "api_key", "api-key", "access_token", "provider"))
"""Members of the query that do not go on."""


def add_realtime(app: QuartTrio, service: Service) -> None:
    """Serve realtime sessions, of OpenAI's and Azure's clients and of Gemini's."""
    resumable = ResumableSessions()
    for api, paths in _PATHS.items():
        for path in paths:
            app.add_websocket(path, f"realtime {path}", partial(_view, service, resumable, api))


class QuartClient:
    """The websocket that Quart is handling: a ``SessionClient``."""

    async def send(self, message: Piece) -> None:
        await websocket.send(message)

    async def close(self, code: int, reason: str) -> None:
        await websocket.close(code, reason)


@attrs.frozen
class _Opening:
    """A client's websocket that was let in, and may become a session."""

    context: ExchangeContext
    arrival: WebSocketArrival
    offered: Offered
    inbox: ClientInbox
    replaced: trio.Event
    resumable: ResumableSessions

    @property
    def service(self) -> Service:
        return self.context.service

    @property
    def record(self) -> Record:
        return self.context.record

    async def accept(self) -> None:
        """Answer the client's handshake: from here on failures are closes."""
        self.record.answered(101)
        await websocket.accept(dict(own_headers(self.record)), self.offered.chosen)


async def _view(service: Service, resumable: ResumableSessions, api: Api) -> QuartResponse | None:
    """Serve one websocket, or answer its handshake with an error."""
    arrival = WebSocketArrival()
    query, named = moved(websocket.query_string, arrival.asgi["headers"])
    offered = Offered.in_headers(arrival.headers)
    arrival.headers = with_key(_spelled(as_text(named)), offered)
    record = open_record(api, service.ledger, arrival.scope, endpoint=ENDPOINT)
    record.stream, record.billed = True, False
    try:
        client = service.admission.authenticate(arrival)
        replaced = service.replaced.of(client)  # before anything else has a turn, which may revoke the key
        check_key(arrival.headers)
        holder = service.admission.holder(client, arrival.headers)
        CLIENT.set(holder)
        service.admission.take_connection(arrival, holder)
        service.admission.take("websockets", holder, arrival.scope)
        record.client = client
        asked = ClientRequest(_carried(arrival.headers), query.decode("latin-1"), client)
        trace = service.tracing.begin(record, asked.headers, websocket.path)
        context = ExchangeContext(service, CODECS[api], asked, record, trace)
        inbox = ClientInbox(service.admission.body(holder, arrival.scope), LARGEST)
        _deliver(arrival, inbox)
        await _SERVE[api](_Opening(context, arrival, offered, inbox, replaced, resumable))
    except GatewayError as error:
        return through_quart(_refused(error.failed, record))
    except Exception:  # the border where our own mistake becomes the client's error
        log.exception("realtime %s: failed before it began", arrival.scope.id)
        return through_quart(_refused(MISTAKE, record))
    return None


def _spelled(headers: Headers) -> Headers:
    """``headers`` with the key of Azure's clients where it is looked for."""
    return tuple(("x-api-key" if name == "api-key" else name, value) for name, value in headers)


def _carried(headers: Headers) -> Headers:
    """``headers`` without those of the handshake, which are between this client and us."""
    return tuple(pair for pair in headers if not pair[0].startswith("sec-websocket-"))


def _deliver(arrival: WebSocketArrival, inbox: ClientInbox) -> None:
    """Have the client's messages in ``inbox``, by whatever way the server has."""
    extensions = arrival.asgi["extensions"]
    if (on_arriving := extensions.get(ON_ARRIVING)) is not None:
        cast("OnArriving", on_arriving)(inbox.arrives)
    if (take := extensions.get(TAKE_MESSAGES)) is not None:
        cast("TakeMessages", take)(inbox)
    else:
        arrival.scope.nursery.start_soon(_receive, inbox)


async def _receive(inbox: ClientInbox) -> None:
    while True:
        await inbox.take(await websocket.receive())


def _refused(failed: ErrorInfo, record: Record) -> Response:
    record.failed = failed
    record.answered(failed.status)
    body = failed.body or CODECS[record.api].write_error(failed, record.id)
    headers = (*JSON_HEADERS, *failed.headers, *own_headers(record), ("connection", "close"))
    return Response(failed.status, headers, body)


# OpenAI's API


async def _serve_openai(opening: _Opening) -> None:
    """Raises ``GatewayError`` for what fails before the client's handshake is answered."""
    query = dict(parse_qsl(opening.context.asked.query))
    if "call_id" in query:
        await _serve_call(opening, query["call_id"])
        return
    model = query.get("model") or query.get("deployment")
    if not model and query.get("intent") != "transcription":
        raise invalid(WHICH, "model")
    find = partial(session_target, model=model) if model else only_target
    target = find(opening.context, shapes=OF_OPENAI)
    meter = Meter(opening.service, opening.record, target)
    await meter.look()
    shape = _shape(target)
    rest = "&".join(f"{quote(name)}={quote(value)}" for name, value in query.items() if name not in _OURS)
    protocols = upstream_protocols(opening.offered, beta=shape.beta)
    provider = await Dialing(opening.context, target, shape).dial(
        shape.query(target.model if model else None, rest), protocols
    )
    try:
        await opening.accept()
        await _run(opening, provider, meter, SessionModels(opening.context, target, OF_OPENAI, named=bool(model)))
    finally:
        await provider.socket.aclose()


async def _serve_call(opening: _Opening, id: str) -> None:
    """A websocket beside a call, whose sound goes past the gateway. Raises ``GatewayError`` as above."""
    require_calls(opening.context)
    target, native = CallIds.of(opening.context).find(id)
    record = opening.record
    record.asked, record.target, record.model = target.asked, target.name, target.model
    record.provider_api, record.lane = target.api, "byte"
    meter, shape = Meter(opening.service, record, target), _shape(target)
    await meter.look()
    protocols = upstream_protocols(opening.offered, beta=shape.beta)
    provider = await Dialing(opening.context, target, shape).dial(f"call_id={quote(native, safe='')}", protocols)
    try:
        await opening.accept()
        await _run(opening, provider, meter, SessionModels(opening.context, target, OF_OPENAI))
    finally:
        await provider.socket.aclose()


def _shape(target: Target) -> RealtimeShape:
    assert target.endpoint_place is not None, "it was planned for this endpoint"
    return SHAPES[target.endpoint_place.shape]


# Gemini's API


async def _serve_gemini(opening: _Opening) -> None:
    """The model is in the first message, so that the client's handshake is answered before the provider is asked."""
    await opening.accept()
    try:
        first = await _first_message(opening.inbox)
        model, handle = asked_for(first)
        target = session_target(opening.context, model, OF_GEMINI)
        meter = Meter(opening.service, opening.record, target)
        await meter.look()
        if handle is not None:
            await opening.resumable.wait(handle)
        provider = await Dialing(opening.context, target, _shape(target)).dial("", ())
    except GatewayError as error:
        opening.record.failed = error.failed
        closing = opening.inbox.closing or refused_for(error.failed)
        await websocket.close(closing.code, closing.reason)
        return
    try:
        await _run(opening, provider, meter, SessionModels(opening.context, target, OF_GEMINI), first)
    finally:
        await provider.socket.aclose()


async def _first_message(inbox: ClientInbox) -> Piece:
    """Raises ``GatewayError`` where none comes."""
    with trio.move_on_after(SETUP_SECONDS):
        return await inbox.receive()
    raise invalid("no setup has come: the first message names the model")


_SERVE: Final[Mapping[Api, Callable[[_Opening], Awaitable[None]]]] = {"chat": _serve_openai, "gemini": _serve_gemini}


# The session


async def _run(
    opening: _Opening, provider: OpenProvider, meter: Meter, models: SessionModels, first: Piece | None = None
) -> None:
    """Serve the session to its end. Raises nothing but for cancellation."""
    service, record = opening.service, opening.record
    reader = _shape(provider.target).reader()
    limits = _limits(opening, provider.target)
    session = RealtimeSession(
        QuartClient(),
        opening.inbox,
        provider.socket,
        reader,
        models,
        meter,
        limits,
        provider.secrets,
        first,
        opening.resumable,
    )
    service.lifecycle.in_flight += 1
    try:
        await session.run(service.lifecycle, opening.replaced)
    except* Exception:  # the border where our own mistake becomes the client's close
        log.exception("realtime %s: failed, and is closed", opening.arrival.scope.id)
        record.failed = MISTAKE
    finally:
        service.lifecycle.in_flight -= 1
        _put_on_record(record, session)


def _put_on_record(record: Record, session: RealtimeSession) -> None:
    """Put on record how the session has ended."""
    record.reason, record.shut_down = session.ended, session.ended == "drained"
    if session.ended in ("upstream_lost", "stalled"):
        record.failed = ErrorInfo("upstream", LOST.reason if session.ended == "upstream_lost" else STALLED.reason)
    record.whole = record.failed is None and session.ended is not None and not record.shut_down


def _limits(opening: _Opening, target: Target) -> SessionLimits:
    """The limits of the session, which ends with the key of its client, too."""
    own, service = target.entry.realtime, opening.service
    ends = service.authenticator.seconds_left(opening.arrival.headers)
    return SessionLimits(service.websocket_idle if own.idle is None else own.idle, min(own.max_session, ends))
