"""Calls: realtime sessions whose audio goes directly between a browser or telephone and the provider.

The gateway only passes the requests that start them, and requests about them by id from their owner."""

from typing import Final

from gateway.exchange.context import ExchangeContext
from gateway.features.realtime.events import SESSION
from gateway.features.realtime.feature import grant_of
from gateway.features.realtime.notices import ModelRule
from gateway.features.realtime.objects import ExaminedObject, read_object
from providers.endpoints.multipart import (
    MultipartBoundary,
    MultipartData,
    MultipartHead,
    MultipartParser,
    parse_boundary,
)
from streams.errors import GatewayError, invalid

CALLS: Final = "/v1/realtime/calls"


def read_session(body: bytes, content_type: str) -> ExaminedObject | None:
    """Read the session settings in a multipart body; return ``None`` if it has none. Raises ``GatewayError``."""
    parts = [raw for name, raw in _fields(body, content_type) if name == "session"]
    if len(parts) > 1:
        raise invalid("session appears twice in the multipart body: send it once", "session")
    if not parts:
        return None
    members = read_object(parts[0])
    if members is None:
        raise invalid("session must be a JSON object", "session")
    return ExaminedObject(members, SESSION, "session.")


def replace_session(body: bytes, content_type: str, session: ExaminedObject | None) -> bytes:
    """Return the multipart ``body`` with ``session`` as its session settings; everything else keeps its bytes."""
    out: list[bytes] = []
    in_session = False
    for event in _events(body, content_type):
        match event:
            case MultipartHead(name=name):
                out.append(event.raw)
                in_session = session is not None and name == "session"
                if session is not None and in_session:
                    out.append(session.encode())
            case MultipartData():
                if not in_session:
                    out.append(event.raw)
            case MultipartBoundary():
                in_session = False
                out.append(event.raw)
    return b"".join(out)


def _fields(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for event in _events(body, content_type):
        match event:
            case MultipartHead(name=name, encoding=encoding):
                if name == "session" and encoding not in ("", "7bit", "8bit", "binary"):
                    raise invalid(
                        "session has a transfer encoding in the multipart body: send it without one", "session"
                    )
                found.append((name, b""))
            case MultipartData(raw=raw):
                found[-1] = (found[-1][0], found[-1][1] + raw)
    return found


def _events(body: bytes, content_type: str) -> list[MultipartHead | MultipartData | MultipartBoundary]:
    """Parse a multipart body. Raises ``GatewayError`` (400) if it is invalid or incomplete."""
    parser = MultipartParser(parse_boundary(content_type))
    events = parser.feed(body)
    parser.close()
    return events


def check_models(session: ExaminedObject, model_path: str, models: ModelRule) -> None:
    """Replace the model at ``model_path`` by the provider's name, and check the others. Raises ``GatewayError``."""
    for at, name in session.texts.items():
        if at == model_path:
            session.put(at, models.provider_name(at, name))
        else:
            models.check_other(at, name)


def require_calls(context: ExchangeContext) -> None:
    """Raise ``GatewayError`` (403) if the client may not make calls."""
    client = context.client_request.client
    if not grant_of(context.service.authenticator.rights_of(client)).calls:
        raise GatewayError("permission", _NO_KEY if client is None else _NOT_GRANTED.format(client))


_NOT_GRANTED: Final = (
    "the key {!r} may not make calls, whose audio bypasses the gateway: to allow them, set `realtime: {{calls: "
    "true}}` for the key in the configuration"
)
_NO_KEY: Final = (
    "calls bypass the gateway, so only clients with a key may make them: set client_keys in the configuration"
)
