"""Calls: realtime sessions whose audio goes directly between a browser or telephone and the provider.

The gateway only passes the requests that start them, and requests about them by id from their owner."""

from collections.abc import Callable
from typing import Final

from gateway.exchange.context import ExchangeContext
from gateway.features.realtime.events import SESSION
from gateway.features.realtime.feature import grant_of
from gateway.features.realtime.notices import ModelRule
from gateway.features.realtime.objects import ExaminedObject, read_object
from providers.endpoints.multipart import FieldReplacer, parse_boundary
from streams.errors import GatewayError, invalid

CALLS: Final = "/v1/realtime/calls"


def read_session(body: bytes, content_type: str) -> ExaminedObject | None:
    """Read the session settings in a multipart body; return ``None`` if it has none. Raises ``GatewayError``."""
    found: list[bytes] = []

    def note(field: bytes) -> bytes:
        found.append(field)
        return field

    _replace_fields(body, content_type, note)
    if len(found) > 1:
        raise invalid("session appears twice in the multipart body: send it once", "session")
    if not found:
        return None
    members = read_object(found[0])
    if members is None:
        raise invalid("session must be a JSON object", "session")
    return ExaminedObject(members, SESSION, "session.")


def replace_session(body: bytes, content_type: str, session: ExaminedObject | None) -> bytes:
    """Return the multipart ``body`` with ``session`` as its session settings; everything else keeps its bytes."""
    return body if session is None else _replace_fields(body, content_type, lambda _: session.encode())


def _replace_fields(body: bytes, content_type: str, replace: Callable[[bytes], bytes]) -> bytes:
    # A browser gives a part with a content type of its own a file name, too.
    editor = FieldReplacer(parse_boundary(content_type), "session", replace, len(body), may_be_file=True)
    edited = editor.feed(body)
    editor.close()
    return edited


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
