"""Admission and handshake of realtime websockets, and the run of their sessions.

Browsers send the key in a subprotocol, because they cannot set headers. OpenAI's browser client offers ``realtime,
openai-insecure-api-key.KEY, openai-beta.realtime-v1``. The key is the gateway's and is not passed on, and the chosen
protocol is ``realtime`` (BerriAI/litellm#36151, api7/aisix#721)."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, cast

import attrs
import trio
from quart import Response as QuartResponse
from quart import websocket

from configfile.keys import part_of
from gateway.allowances.runs import run_of
from gateway.exchange.context import ExchangeContext
from gateway.exchange.responding import error_response, open_record, own_headers
from gateway.exchange.service import Service
from gateway.features.realtime.dialing import OpenProvider
from gateway.features.realtime.feature import RealtimeKeys
from gateway.features.realtime.meter import Meter
from gateway.features.realtime.models import ENDPOINT
from gateway.features.realtime.notices import FrameReader, ModelRule
from gateway.features.realtime.provider_websocket import Piece
from gateway.features.realtime.session import (
    LOSSES,
    MAX_MESSAGE,
    ClientInbox,
    RealtimeSession,
    ResumableSessions,
    SessionLimits,
)
from gateway.http.headers import Headers, as_text, with_key_in_header
from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.request.public_errors import MISTAKE
from gateway.routing.target import Target
from gateway.seams.observers import observers_of
from gateway.serving.asgi_extensions import ON_ARRIVING, TAKE_MESSAGES
from gateway.websockets.handshake import CLOSES, WebSocketArrival, admit_websocket
from gateway.websockets.in_quart import through_quart
from providers.apis import CODECS
from providers.endpoints.endpoint import EndpointName
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo

if TYPE_CHECKING:
    from gateway.serving.asgi_extensions import OnArriving, TakeMessages

HEADER: Final = "sec-websocket-protocol"
CHOSEN: Final = "realtime"
BETA: Final = "openai-beta.realtime-v1"
"""The subprotocol of the beta API, which other providers reject (langwatch/langwatch#7066)."""

_KEY_PREFIX: Final = "openai-insecure-api-key."
_ACCOUNT_PREFIXES: Final = ("openai-organization.", "openai-project.")
"""Prefixes of subprotocols with the OpenAI account, which the entry determines instead."""


@attrs.frozen
class OfferedProtocols:
    """The subprotocols that a client offers: ``names`` without credentials, and the ``keys``."""

    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def in_headers(cls, headers: Headers) -> "OfferedProtocols":
        values = (value for name, value in headers if name == HEADER)
        words = [word.strip() for value in values for word in value.split(",")]
        keys = tuple(word.removeprefix(_KEY_PREFIX) for word in words if word.startswith(_KEY_PREFIX))
        names = tuple(word for word in words if word and not word.startswith((_KEY_PREFIX, *_ACCOUNT_PREFIXES)))
        return cls(names, keys)

    @property
    def chosen_protocol(self) -> str | None:
        """The subprotocol to accept, ``None`` if the client offers no known one."""
        return CHOSEN if CHOSEN in self.names else None


def with_offered_keys(headers: Headers, offered: OfferedProtocols) -> Headers:
    """Return ``headers`` with the offered keys as ``authorization`` instead of as subprotocols."""
    rest = tuple(pair for pair in headers if pair[0] != HEADER)
    names = ((HEADER, ", ".join(offered.names)),) if offered.names else ()
    return (*rest, *names, *(("authorization", f"Bearer {key}") for key in offered.keys))


def upstream_protocols(offered: OfferedProtocols, *, beta: bool) -> tuple[str, ...]:
    """Return the subprotocols to offer to the provider, the beta API's only if ``beta`` is true."""
    return tuple(_provider_protocols(offered.names, beta))


def _provider_protocols(names: Iterable[str], beta: bool) -> Iterable[str]:
    for name in names:
        if name == CHOSEN or (name == BETA and beta):
            yield name


log = logging.getLogger("trigate")


@attrs.frozen
class Opening:
    """An admitted client websocket, with everything that a view needs to open a session.

    ``inbox`` receives the client's messages. ``replaced`` is set when a new configuration replaces this one."""

    context: ExchangeContext
    arrival: WebSocketArrival
    offered: OfferedProtocols
    inbox: ClientInbox
    replaced: trio.Event
    resumable: ResumableSessions

    @property
    def service(self) -> Service:
        return self.context.service

    @property
    def record(self) -> Record:
        return self.context.record

    async def accept(self, chosen: str | None) -> None:
        """Accept the client's handshake with the subprotocol ``chosen``; afterwards, errors can only be closes."""
        self.record.mark_answered(101)
        await websocket.accept(dict(own_headers(self.record)), chosen)


async def open_websocket(
    service: Service,
    resumable: ResumableSessions,
    api: Api,
    serve: Callable[["Opening"], Awaitable[None]],
    endpoint: EndpointName = ENDPOINT,
    **_: str,
) -> QuartResponse | None:
    """Admit the current websocket of Quart and run ``serve`` on it, or return the response that rejects it.

    It is a view of Quart. ``serve`` reads the variables of the path itself."""
    arrival = WebSocketArrival()
    query, named = with_key_in_header(websocket.query_string, arrival.asgi["headers"])
    offered = OfferedProtocols.in_headers(arrival.headers)
    arrival.headers = with_offered_keys(_with_x_api_key(as_text(named)), offered)
    arrived = ArrivedRequest(arrival.headers, websocket.path)
    record = open_record(api, service.ledger, arrival.scope, endpoint=endpoint, arrival=arrived)
    record.stream, record.bill.billed = True, False
    try:
        if service.authenticator.unlisted is not None:
            await service.admission.prepare(arrival)  # a key in the subprotocols was not seen before
        admitted = admit_websocket(service, arrival)
        record.client = admitted.client
        asked = ClientRequest(_without_handshake(arrival.headers), query.decode("latin-1"), admitted.client)
        context = ExchangeContext(service, CODECS[api], asked, record, observers_of(record))
        await context.admit_endpoint(endpoint)
        bodiless = Incoming(api, b"", {}, None, True)
        for forms in service.hooks.request_forms:
            record.labels = forms.label(asked, bodiless)
        if service.allowances.has_limits or service.hooks.records_run:
            record.run = run_of(asked, bodiless)
        inbox = ClientInbox(service.admission.body(admitted.holder, arrival.scope), MAX_MESSAGE)
        _connect_inbox(arrival, inbox)
        try:
            await serve(Opening(context, arrival, offered, inbox, admitted.replaced, resumable))
        finally:
            inbox.close()  # the server would wait forever with a message that no session receives
    except GatewayError as error:
        return through_quart(error_response(record, error.info, headers=CLOSES))
    except Exception:  # a bug here becomes the client's error
        log.exception("realtime session %s failed before its start", arrival.scope.id)
        return through_quart(error_response(record, MISTAKE, headers=CLOSES))
    return None


def _with_x_api_key(headers: Headers) -> Headers:
    """Return ``headers`` with ``api-key``, the key header of Azure's clients, renamed to ``x-api-key``."""
    return tuple(("x-api-key" if name == "api-key" else name, value) for name, value in headers)


def _without_handshake(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if not pair[0].startswith("sec-websocket-"))


def _connect_inbox(arrival: WebSocketArrival, inbox: ClientInbox) -> None:
    """Make the server deliver the client's messages to ``inbox``, or start a task that receives them."""
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


# The session


async def run_session(
    opening: Opening,
    provider: OpenProvider,
    reader: FrameReader,
    meter: Meter,
    models: ModelRule,
    first: Piece | None = None,
) -> None:
    """Run a session between the client and ``provider`` to its end, and record it.

    ``first`` is a client message that was already received. Raises nothing but cancellation."""
    service, record = opening.service, opening.record
    limits = _session_limits(opening, provider.target)
    session = RealtimeSession(
        opening.inbox, provider.socket, reader, models, meter, limits, provider.secrets, opening.resumable, first
    )
    service.lifecycle.in_flight += 1
    mistake: ErrorInfo | None = None
    try:
        await session.run(service.lifecycle, opening.replaced)
    except* Exception:  # a bug here becomes the client's close
        log.exception("realtime session %s failed and is closed", opening.arrival.scope.id)
        mistake = MISTAKE
    finally:
        service.lifecycle.in_flight -= 1
        _record_end(record, session, mistake)


def _record_end(record: Record, session: RealtimeSession, mistake: ErrorInfo | None) -> None:
    is_drained = session.ended == "drained"
    record.reason, record.shut_down = session.ended, is_drained
    error = LOSSES[session.ended] if session.ended in ("upstream_lost", "upstream_invalid", "stalled") else mistake
    record.error = error
    record.bill.is_complete = error is None and session.ended is not None and not is_drained


def _session_limits(opening: Opening, target: Target) -> SessionLimits:
    """Return the session's time limits, which include the expiry of the client's key."""
    own, service = part_of(target.entry, RealtimeKeys).realtime, opening.service
    ends = service.authenticator.seconds_left(opening.arrival.headers)
    return SessionLimits(opening.resumable.idle if own.idle is None else own.idle, min(own.max_session, ends))
