"""The handshake of a client's websocket, and its admission."""

import re
from typing import Final

import attrs
import trio
from quart import websocket

from gateway.exchange.service import Service
from gateway.http.headers import Headers, as_text
from gateway.http.offload import CLIENT
from gateway.websockets.in_quart import websocket_scope
from streams.errors import invalid

CLOSES: Final[Headers] = (("connection", "close"),)
"""Headers of the response to a rejected handshake."""

_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")


class WebSocketArrival:
    """The handshake that Quart is handling: an ``Arrival``."""

    def __init__(self) -> None:
        self.scope = websocket_scope()
        self.asgi = websocket.scope
        self.headers: Headers = as_text(self.asgi["headers"])


@attrs.frozen
class AdmittedWebSocket:
    """An admitted websocket: its client, the ``holder`` that it counts for, and the event of its configuration being
    ``replaced``."""

    client: str | None
    holder: str
    replaced: trio.Event


def admit_websocket(service: Service, arrival: WebSocketArrival) -> AdmittedWebSocket:
    """Admit the handshake by its client's key, and count its connection. Raises ``GatewayError`` (400, 401, 429,
    503)."""
    admission = service.admission
    client = admission.authenticate(arrival)
    replaced = service.replaced.of(client)  # before any other task runs, which may revoke the key
    _check_key(arrival.headers)
    holder = admission.holder(client, arrival.headers)
    CLIENT.set(holder)
    admission.take_connection(arrival, holder)
    admission.take(admission.websockets, holder, arrival.scope)
    return AdmittedWebSocket(client, holder, replaced)


def _check_key(headers: Headers) -> None:
    """Raise ``GatewayError`` (400) for a key that RFC 6455, section 4.2.1, forbids; HTTP/2 has none."""
    key = dict(headers).get("sec-websocket-key")
    if key is not None and not _KEY.fullmatch(key):
        raise invalid("sec-websocket-key must be 16 bytes in base64")
