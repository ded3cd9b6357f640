"""The handshake of a client's websocket, as admission sees it."""

import re
from typing import Final

from quart import websocket

from gateway.http.headers import Headers, as_text
from gateway.serving.quart_views import websocket_scope
from streams.errors import invalid

CLOSES: Final[Headers] = (("connection", "close"),)
"""Headers of the response to a handshake that is refused."""

_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")


class WebSocketArrival:
    """The handshake that Quart is handling: an ``Arrival``."""

    def __init__(self) -> None:
        self.scope = websocket_scope()
        self.asgi = websocket.scope
        self.headers: Headers = as_text(self.asgi["headers"])


def check_key(headers: Headers) -> None:
    """Raises ``GatewayError`` (400) for a key that RFC 6455, section 4.2.1, forbids; HTTP/2 has none."""
    key = dict(headers).get("sec-websocket-key")
    if key is not None and not _KEY.fullmatch(key):
        raise invalid("sec-websocket-key must be 16 bytes in base64")
