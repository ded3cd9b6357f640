"""Websockets on pass-through paths, below the name of an entry with ``passthrough: true``.

Sessions of OpenAI's and Gemini's realtime APIs are read and metered as usual, others pass unread."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import unquote

import attrs
from quart import Response as QuartResponse

from gateway.config.model_entry import ModelEntry
from gateway.exchange.context import ExchangeContext
from gateway.exchange.service import Service
from gateway.features.pass_through.addresses import read_address
from gateway.features.realtime.interface import (
    ConnectionAttempt,
    FrameReader,
    GeminiFrames,
    Meter,
    OpenAiFrames,
    Opening,
    RealtimeShape,
    ResponseStarted,
    ResumableSessions,
    open_websocket,
    run_session,
)
from gateway.routing.target import Target

_LIVE: Final = "BidiGenerateContent"


def passed_views(
    service: Service, idle: float, entries: Mapping[str, ModelEntry]
) -> Mapping[str, Callable[..., Awaitable[QuartResponse | None]]]:
    """Return the views of ``entries`` with ``passthrough``, by the first segment of their paths."""
    resumable = ResumableSessions(idle)
    return {name: partial(_view, service, resumable, entry, name) for name, entry in entries.items()}


async def _view(
    service: Service, resumable: ResumableSessions, entry: ModelEntry, name: str, rest: str
) -> QuartResponse | None:
    serve = partial(_serve, entry, name)
    return await open_websocket(service, resumable, "gemini" if _LIVE in rest else "chat", serve, "passthrough")


async def _serve(entry: ModelEntry, name: str, opening: Opening) -> None:
    """Connect to the provider and serve the session.

    Raises ``GatewayError`` only before the client's handshake is answered."""
    service, record = opening.service, opening.record
    address = read_address(opening.context, opening.arrival, entry, name, opening.context.codec.api)
    target, models = address.target, PassedModels(opening.context, address.target)
    for at, model in address.models:
        target = attrs.evolve(target, model=models.provider_name(at, model))
    record.requested_model, record.target, record.model = target.requested_name, target.name, target.model
    record.provider_api, record.lane = target.api, "byte"
    reader, meter = _frame_reader(address.rest), Meter(service, record, target)
    try:
        if reader.is_metered:
            await meter.check_allowed()
        else:
            await meter.request_response()  # the session counts as one
        attempt = ConnectionAttempt(opening.context, target, _SHAPE, reports_health=False)
        provider = await attempt.connect("", opening.offered.names)
        async with provider.socket:
            if not reader.is_metered:  # a session that the provider rejected costs nothing
                await meter.process(ResponseStarted())
            await opening.accept(provider.socket.subprotocol)
            await run_session(opening, provider, reader, meter, models)
    finally:
        meter.close()


_SHAPE: Final = RealtimeShape(FrameReader, None, beta=True)


def _frame_reader(rest: str) -> FrameReader:
    path = unquote(unquote(rest)).casefold()  # several providers' servers decode it twice, ignoring case
    if _LIVE.casefold() in path:
        return GeminiFrames()
    return OpenAiFrames() if path.rstrip("/").endswith("realtime") else FrameReader()


@attrs.frozen
class PassedModels:
    """The rule for models in pass-through sessions, whose names are the provider's: a ``ModelRule``."""

    context: ExchangeContext
    target: Target

    def provider_name(self, at: str, name: str) -> str:
        self.check_other(at, name)
        return name

    def check_other(self, at: str, name: str) -> None:
        self.context.check_additional_model(at, name, self.target.entry)
