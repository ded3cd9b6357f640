"""The responses of connections without an app: errors, and health checks."""

from collections.abc import Collection
from typing import Final

import msgspec

from gateway.serving.asgi_extensions import IMMEDIATE, AsgiApp, AsgiReceive, AsgiScope, AsgiSend


def error_response(status: int, message: str | None = None) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and the JSON body of an error response for an unknown API. It ends the connection (HTTP/2
    removes that header). ``message`` replaces the usual one of ``status``."""
    body = _body(status, message or _MESSAGES.get(status, "the request failed"))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if status in _TEMPORARY:
        headers.append((b"retry-after", b"1"))
    return headers, body


_TEMPORARY: Final = (429, 503)

_MESSAGES: Final = {
    400: "the request is not valid HTTP: check the request line, the header lines, and that content-length and "
    "transfer-encoding are not both sent",
    404: "this port serves only health checks, such as /healthz and /readyz: send model requests to another port",
    414: "the request's URL is longer than 8 KiB: send the data in the body",
    429: "this address has reached its limit of connections (limits.connections_per_address): close some",
    431: "the request's headers are larger than 64 KiB or have more than 256 lines: send fewer or shorter headers",
    500: "internal error of the gateway; its log has the details",
    501: "this transfer-encoding is not supported: use chunked or a content-length",
    505: (
        "this HTTP version is not supported: use HTTP/1.1, or HTTP/2 with its preface if the listener's http2 is not "
        "off"
    ),
    503: "the gateway has reached its limit of connections (limits.connections): try again later",
}


_NOT_TLS: Final = "this port uses TLS: write https:// instead of http://"


def _body(status: int, message: str) -> bytes:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})


def _complete_response(status: str, headers: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}connection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


TOO_MANY_OF_ONE: Final = _complete_response("429 Too Many Requests", "retry-after: 1\r\n", _body(429, _MESSAGES[429]))
"""The whole HTTP/1.1 response to one connection too many from an address."""

NOT_TLS: Final = _complete_response("400 Bad Request", "", _body(400, _NOT_TLS))
"""The whole HTTP/1.1 response to a request without TLS on a port with TLS."""


async def answer_health_checks(
    app: AsgiApp, paths: Collection[str], status: int, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
) -> None:
    """Let ``app`` answer requests for ``paths``, those of health checks, and reject everything else with ``status``."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": None})
    elif scope["type"] == "http" and scope["path"].rstrip("/") not in paths:
        scope[IMMEDIATE] = True
        headers, body = error_response(status)
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
        await send({"type": "http.response.body", "body": body, "more_body": False})
    else:
        await app(scope, receive, send)
