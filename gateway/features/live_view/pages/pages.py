"""The pages of the live view, which are read-only and not recorded in the ledger."""

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import trio

from configfile.keys import part_of
from gateway.access.shares import NOBODY
from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.live_view.feature import LiveViewKeys
from gateway.features.live_view.live import FoundExchange
from gateway.features.live_view.opening import RunningLiveView
from gateway.features.live_view.pages.signed_in import signed_in_viewers
from gateway.features.live_view.pages.viewer_events import MakeEvent, Send, event_maker, send_news, send_stream
from gateway.features.live_view.pages.viewings import audit_list, audit_stream
from gateway.features.live_view.routes import EVENTS, FILES, MODELS, STREAM, page_links
from gateway.http.headers import Headers
from gateway.http.offload import offload_always
from gateway.http.pages import GUARDED, TEXT
from gateway.http.response import ChannelBody, Response
from gateway.routing.plan import Wall
from gateway.routing.router import Router
from gateway.serving.incoming_request import IncomingRequest
from gateway.serving.route_table import Handler
from gateway.viewing.explained import Explanation, explain_plan
from gateway.viewing.listed_models import list_models
from gateway.viewing.visitors import Visitor, viewer_of
from streams import sse
from streams.errors import GatewayError
from streams.events import APIS

_EVENTS: Headers = (("content-type", "text/event-stream; charset=utf-8"), ("x-accel-buffering", "no"), *GUARDED)
_JSON: Headers = (("content-type", "application/json"), *GUARDED)

_NO_TEXTS: Final = "the role auditor does not see the texts of streams"
_NO_ANSWERS: Final = "`ui: {answers: none}` in the configuration hides all answers"
_NOT_OWN: Final = (
    "this is the request of another client: admins and holders of the ui_key can read it only with "
    "`ui: {answers: all}` in the configuration"
)
_NO_STREAM: Final = "there is no such stream among the running or the recent ones"


def ui_views(service: Service, config: Config, running: RunningLiveView) -> Mapping[str, Handler]:
    """Return the handlers of the live view's pages by path."""

    signed_in = signed_in_viewers(config, service)

    def with_visitor(view: Callable[..., Awaitable[Response]]) -> Handler:
        async def answer(incoming: IncomingRequest, **names: str) -> Response:
            try:
                visitor = None if signed_in is None else await signed_in(incoming)
                if isinstance(visitor, Response):
                    return visitor
                visitor = visitor or viewer_of(incoming, config, service.authenticator, service.admission.refused)
                return await view(incoming, visitor, **names)
            except GatewayError as error:
                info = error.info
                return Response(info.status, (*info.headers, *TEXT), f"{info.message}\n".encode())

        return answer

    make_event = event_maker(service.ledger.mask)
    return {
        **{path: with_visitor(partial(_file, config, *file)) for path, file in FILES.items()},
        EVENTS: with_visitor(partial(_stream_events, service, running, make_event)),
        MODELS: with_visitor(partial(_models, config, service)),
        STREAM: with_visitor(partial(_stream, config, service, running, make_event)),
    }


async def _file(config: Config, name: str, kind: str, incoming: IncomingRequest, visitor: Visitor) -> Response:
    content = config.external.with_links(_content(name).replace(b"<!--pages-->", page_links(config)))
    return Response(200, (("content-type", kind), *GUARDED), content)


@cache
def _content(name: str) -> bytes:
    return files("gateway.features.live_view.pages").joinpath(name).read_bytes()


async def _models(config: Config, service: Service, incoming: IncomingRequest, visitor: Visitor) -> Response:
    """Return every model name that the viewer may use, with the route of requests in each API."""

    def make_rows() -> bytes:
        router, authenticator = service.router, service.authenticator
        wall = authenticator.wall(visitor.client)
        found = [
            model_row(router, name, requested_name, wall, urls=visitor.client is None)
            for name, requested_name in displayed_names(config, router).items()
            if authenticator.can_use(visitor.client, requested_name)
        ]
        return service.ledger.mask.redact(msgspec.json.encode(found))

    return Response(200, _JSON, await offload_always(make_rows))  # there may be thousands


async def _stream_events(
    service: Service, running: RunningLiveView, make_event: MakeEvent, incoming: IncomingRequest, visitor: Visitor
) -> Response:
    """Return a stream of news from this worker, the others, and other gateways."""
    await audit_list(service, incoming, visitor)

    async def send_events(send: Send) -> None:
        async with trio.open_nursery() as nursery:
            if running.others is not None:
                nursery.start_soon(running.others.send_news, visitor.client, send)
            if running.gateways is not None:
                nursery.start_soon(running.gateways.send_news, visitor, send)
            await send_news(running.live_view, make_event, visitor.client, send)
            nursery.cancel_scope.cancel()

    return _events_for(service, running, incoming, visitor, send_events)


async def _stream(
    config: Config,
    service: Service,
    running: RunningLiveView,
    make_event: MakeEvent,
    incoming: IncomingRequest,
    visitor: Visitor,
    id: str,
) -> Response:
    """Return one stream's past and future events, and its end; ``worker`` selects its process."""
    if not visitor.sees_streams:
        raise GatewayError("permission", _NO_TEXTS)
    if not (id.isascii() and id.isdigit() and len(id) < 20):
        raise GatewayError("not_found", _NO_STREAM)
    number, worker, others = int(id), dict(parse_qsl(incoming.query)).get("worker", ""), running.others
    if worker not in ("", str(os.getpid())):
        if others is None:  # the stream is another gateway's
            raise GatewayError("not_found", _NO_STREAM)
        exchange = _readable(config, visitor, await others.find(worker, number, visitor.client))
        await audit_stream(service, incoming, visitor, exchange)
        return _events_for(service, running, incoming, visitor, partial(others.send_stream, worker, number))
    exchange = _readable(config, visitor, running.live_view.find(number, visitor.client))
    found = running.live_view.subscribe(number, visitor.client)
    if found is None:
        raise GatewayError("not_found", _NO_STREAM)
    subscription, unsubscribe = found
    incoming.scope.on_close(lambda _: unsubscribe())
    await audit_stream(service, incoming, visitor, exchange)
    return _events_for(service, running, incoming, visitor, partial(send_stream, subscription, make_event))


def _readable(config: Config, visitor: Visitor, exchange: FoundExchange | None) -> FoundExchange:
    """Return the exchange. Raises ``GatewayError``: 404 if the visitor does not see it, 403 if not its answer."""
    answers = part_of(config, LiveViewKeys).answers
    if answers == "none":
        raise GatewayError("permission", _NO_ANSWERS)
    if exchange is None:
        raise GatewayError("not_found", _NO_STREAM)
    if answers == "own" and exchange.client != visitor.name:
        raise GatewayError("permission", _NOT_OWN)
    return exchange


def _events_for(
    service: Service,
    running: RunningLiveView,
    incoming: IncomingRequest,
    visitor: Visitor,
    send_events: Callable[[Send], Awaitable[None]],
) -> Response:
    """Return a stream of the events that ``send_events`` sends, until the viewer's key expires or its rights change.

    A new configuration or another change of rights ends it with ``_RECONNECT``: the page then authenticates again.
    Raises ``GatewayError`` (429, 503) if too many streams are open. A slow viewer delays no exchange."""
    scope, replaced = incoming.scope, service.replaced.of(visitor.name)
    service.admission.take(running.viewers, visitor.name or NOBODY, scope)

    async def run() -> None:
        with to:
            try:
                with trio.move_on_after(visitor.seconds_left):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_cancel_on, replaced, nursery.cancel_scope)
                        await send_events(to.send)
                        nursery.cancel_scope.cancel()
                    if replaced.is_set():
                        await to.send(_RECONNECT)
            except* trio.BrokenResourceError:  # the viewer has left
                pass

    to, body = trio.open_memory_channel[bytes](1)
    scope.nursery.start_soon(run)
    return Response(200, _EVENTS, ChannelBody(body))


_RECONNECT: Final = sse.event("reconnect", {})
"""The last event of a stream whose page must connect again."""


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


ANY: Final = "MODEL"
"""A placeholder for the name that a client would request from a wildcard."""


def displayed_names(config: Config, router: Router) -> Mapping[str, str]:
    """Return the displayed models, each with a name to request: listed ones and wildcards."""
    names = (
        *(entry.name for entry in config.entries if entry.wildcard),
        *(name for name in config.routes if "*" in name),
    )
    return {**{model.id: model.id for model in list_models(router)}, **{name: name.replace("*", ANY) for name in names}}


def model_row(router: Router, name: str, requested_name: str, wall: Wall, *, urls: bool) -> dict[str, Any]:
    """Return a model's name, its first target within ``wall`` with the reason, and the routes of requests.

    Clients of several APIs with equal routes share an entry. Secrets in URLs are masked; without ``urls``, none are
    shown, because addresses of an operator's servers are not for all clients."""
    found: list[tuple[str, Explanation]] = []
    for api in APIS:
        try:
            found.append((api, explain_plan(router, requested_name, api, wall)))
        except GatewayError as error:
            return {"name": name, "target": "", "why": error.info.message, "ways": [_no_route()]}
    ways: dict[tuple[str, str, str], list[str]] = {}
    for client, one in found:
        ways.setdefault((one.lane, one.target.api, one.url if urls else ""), []).append(client)
    _, first = found[0]
    shown = [{"clients": clients, "lane": lane, "api": to, "url": url} for (lane, to, url), clients in ways.items()]
    return {"name": name, "target": first.target.name, "why": first.why, "ways": shown}


def _no_route() -> dict[str, Any]:
    return {"clients": [], "lane": "", "api": "", "url": ""}
