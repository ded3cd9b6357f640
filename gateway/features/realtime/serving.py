"""The views of realtime sessions, which connect a client's websocket to a provider's."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, quote

import trio
from quart import Response as QuartResponse
from quart import websocket

from gateway.exchange.service import Service
from gateway.features.realtime.calls import require_calls
from gateway.features.realtime.dialing import ConnectionAttempt, OpenProvider
from gateway.features.realtime.events import error_event
from gateway.features.realtime.gemini_live import read_setup
from gateway.features.realtime.live import LiveFrames, read_start
from gateway.features.realtime.meter import Meter
from gateway.features.realtime.models import ENDPOINT, MISSING_MODEL, SessionModels, only_target, session_target
from gateway.features.realtime.notices import FrameReader
from gateway.features.realtime.opening import Opening, open_websocket, run_session, upstream_protocols
from gateway.features.realtime.provider_websocket import Piece
from gateway.features.realtime.routes import LIVE, TRANSLATIONS
from gateway.features.realtime.session import TOO_DEEP, ClientInbox, ResumableSessions, closing_for
from gateway.features.realtime.session_ids import SessionIds
from gateway.features.realtime.shapes import OF_GEMINI, OF_OPENAI, SHAPES, RealtimeShape
from gateway.routing.target import Target
from providers.endpoints.endpoint import EndpointName
from streams.errors import GatewayError, invalid
from streams.events import Api

SETUP_SECONDS: Final = 30.0
"""Seconds within which a Gemini client must send its model."""

_WITHHELD_PARAMETERS: Final = frozenset(
    ("model", "deployment", "call_id", "api-version", "api_key", "api-key", "access_token", "provider")
)
"""Query parameters that are not passed on, in any case, because some servers ignore it, as ASP.NET does."""


def realtime_views(service: Service, idle: float) -> Mapping[str, Callable[..., Awaitable[QuartResponse | None]]]:
    """Return the views by client API, and those of other endpoints."""
    resumable = ResumableSessions(idle)
    views = {api: partial(open_websocket, service, resumable, api, serve) for api, serve in _SERVE.items()}
    own = {TRANSLATIONS: _serve_translation, LIVE: _serve_live}
    return {**views, **{name: partial(open_websocket, service, resumable, "chat", own[name], name) for name in own}}


# OpenAI's API


async def _serve_openai(opening: Opening) -> None:
    """Serve a session of an OpenAI client. Raises ``GatewayError`` before the handshake is answered."""
    query = dict(parse_qsl(opening.context.client_request.query))
    if "call_id" in query:
        await _serve_call(opening, query["call_id"])
        return
    model = query.get("model") or query.get("deployment")
    if not model and query.get("intent") != "transcription":
        raise invalid(MISSING_MODEL, "model")
    find = partial(session_target, model=model) if model else only_target
    target = find(opening.context, shapes=OF_OPENAI)
    sent = _shape_of(target).query_for(target.model if model else None, _passed_query(query))
    await _run_openai(opening, target, sent, is_fixed=bool(model))


async def _serve_translation(opening: Opening) -> None:
    """Serve a session that translates speech continuously. Raises ``GatewayError`` before the handshake is answered."""
    query = dict(parse_qsl(opening.context.client_request.query))
    if not (model := query.get("model")):
        raise invalid("the model is missing: add ?model=NAME", "model")
    target = session_target(opening.context, model, OF_OPENAI, TRANSLATIONS)
    sent = _shape_of(target).query_for(target.model, _passed_query(query))
    await _run_openai(opening, target, sent, is_fixed=True, endpoint=TRANSLATIONS)


def _passed_query(query: Mapping[str, str]) -> str:
    """Return the parameters in ``query`` that the provider receives."""
    return "&".join(
        f"{quote(name)}={quote(value)}" for name, value in query.items() if name.lower() not in _WITHHELD_PARAMETERS
    )


async def _serve_call(opening: Opening, id: str) -> None:
    """Serve a websocket that follows the call ``id``, whose audio bypasses the gateway.

    Raises ``GatewayError`` before the handshake is answered."""
    require_calls(opening.context)
    target, native = SessionIds.of(opening.context, ENDPOINT).find(id, "call_id")
    record = opening.record
    record.requested_model, record.target, record.model = target.requested_name, target.name, target.model
    record.provider_api, record.lane = target.api, "byte"
    await _run_openai(opening, target, f"call_id={quote(native, safe='')}", is_fixed=True, joins_call=True)


async def _run_openai(
    opening: Opening,
    target: Target,
    query: str,
    *,
    is_fixed: bool,
    joins_call: bool = False,
    endpoint: EndpointName = ENDPOINT,
) -> None:
    """Open a websocket to ``target`` with ``query``, and pass messages on; ``is_fixed`` means that the client chose the
    model, ``joins_call`` that the client chose a call, which may have ended."""
    meter, shape = Meter(opening.service, opening.record, target), _shape_of(target)
    await meter.check_allowed()
    protocols = upstream_protocols(opening.offered, beta=shape.beta)
    attempt = ConnectionAttempt(opening.context, target, shape, reports_health=not joins_call)
    provider = await attempt.connect(query, protocols)
    models = SessionModels(opening.context, target, OF_OPENAI, is_fixed=is_fixed, endpoint=endpoint)
    async with provider.socket:
        await opening.accept(opening.offered.chosen_protocol)
        await run_session(opening, provider, shape.reader(), meter, models)


def _shape_of(target: Target) -> RealtimeShape:
    assert target.endpoint_place is not None, "it was planned for this endpoint"
    return SHAPES[target.endpoint_place.shape]


# OpenAI's Live API

_LIVE_SHAPE: Final = RealtimeShape(FrameReader, None)


async def _serve_live(opening: Opening) -> None:
    """Serve a Live session, or another connection to one of the client's sessions, which its path names.

    Raises ``GatewayError`` only before the handshake is answered."""
    id, _, action = opening.arrival.asgi["path"].rstrip("/").partition("/sessions")[2].strip("/").partition("/")
    if action:
        await _serve_known_session(opening, id, action)
    else:
        await _serve_new_session(opening)


async def _serve_known_session(opening: Opening, id: str, action: str) -> None:
    """Fork the session ``id``, or attach to it."""
    target, _ = SessionIds.of(opening.context, LIVE).find(id, "session_id", f"/{{id}}/{action}")
    record = opening.record
    record.requested_model, record.target, record.model = target.requested_name, target.name, target.model
    record.provider_api, record.lane = target.api, "byte"
    meter = Meter(opening.service, record, target)
    await meter.check_allowed()
    provider = await ConnectionAttempt(opening.context, target, _LIVE_SHAPE, reports_health=False).connect("", ())
    async with provider.socket:
        await opening.accept(opening.offered.chosen_protocol)
        await _run_live(opening, provider, meter, bills=action != "attach")


async def _serve_new_session(opening: Opening) -> None:
    """Serve a session whose first frame has the model. Its client gets failures as a frame and a close."""
    await opening.accept(opening.offered.chosen_protocol)
    try:
        first = await _receive_first(opening.inbox, "session.start")
        target = session_target(opening.context, read_start(first), OF_OPENAI, LIVE)
        meter = Meter(opening.service, opening.record, target)
        await meter.check_allowed()
        provider = await ConnectionAttempt(opening.context, target, _LIVE_SHAPE).connect("", ())
    except (GatewayError, RecursionError) as error:
        opening.record.error = info = error.info if isinstance(error, GatewayError) else TOO_DEEP
        closing = opening.inbox.closing or closing_for(info)
        await websocket.send(error_event(info))
        await websocket.close(closing.code, closing.reason)
        return
    async with provider.socket:
        await _run_live(opening, provider, meter, first=first)


async def _run_live(
    opening: Opening, provider: OpenProvider, meter: Meter, *, bills: bool = True, first: Piece | None = None
) -> None:
    target = provider.target
    reader = LiveFrames(partial(SessionIds.of(opening.context, LIVE).client_id, target.entry), bills=bills)
    models = SessionModels(opening.context, target, OF_OPENAI, endpoint=LIVE)
    await run_session(opening, provider, reader, meter, models, first)


# Gemini's API


async def _serve_gemini(opening: Opening) -> None:
    """Serve a session of a Gemini client, whose first message after the handshake contains the model."""
    await opening.accept(opening.offered.chosen_protocol)
    try:
        first = await _receive_first(opening.inbox, "setup")
        model, handle = read_setup(first)
        target = session_target(opening.context, model, OF_GEMINI)
        meter = Meter(opening.service, opening.record, target)
        await meter.check_allowed()
        if handle is not None:
            await opening.resumable.wait(handle)
        shape = _shape_of(target)
        provider = await ConnectionAttempt(opening.context, target, shape).connect("", ())
    except (GatewayError, RecursionError) as error:
        opening.record.error = info = error.info if isinstance(error, GatewayError) else TOO_DEEP
        closing = opening.inbox.closing or closing_for(info)
        await websocket.close(closing.code, closing.reason)
        return
    models = SessionModels(opening.context, target, OF_GEMINI)
    async with provider.socket:
        await run_session(opening, provider, shape.reader(), meter, models, first)


async def _receive_first(inbox: ClientInbox, name: str) -> Piece:
    """Return the client's first message, ``name``. Raises ``GatewayError`` if none arrives within ``SETUP_SECONDS``."""
    with trio.move_on_after(SETUP_SECONDS):
        return await inbox.receive()
    raise invalid(f"the {name} message is missing: send it first, with the model")


_SERVE: Final[Mapping[Api, Callable[[Opening], Awaitable[None]]]] = {"chat": _serve_openai, "gemini": _serve_gemini}
