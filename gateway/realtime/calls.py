"""Calls: realtime sessions whose audio goes directly between a browser or telephone and the provider.

The gateway only passes the requests that start them, and requests about them by id from their owner."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import attrs

from gateway.config.model_entry import ModelEntry
from gateway.exchange.context import ExchangeContext
from gateway.kept_objects.accounts import Account, accounts_of
from gateway.kept_objects.owned_ids import OwnerIds, unknown_id_error
from gateway.realtime.events import SESSION
from gateway.realtime.models import ENDPOINT
from gateway.realtime.notices import ModelRule
from gateway.realtime.objects import ExaminedObject, read_object
from gateway.realtime.shapes import OF_OPENAI
from gateway.routing.router import passthrough_target
from gateway.routing.target import Target
from providers.catalog.provider import endpoint_url
from providers.endpoints.multipart import (
    MultipartBoundary,
    MultipartData,
    MultipartHead,
    MultipartParser,
    parse_boundary,
)
from streams.errors import GatewayError, invalid

CALLS: Final = "/v1/realtime/calls"


@attrs.frozen
class CallIds:
    """The signed ids of one client's calls; each contains its owner and provider."""

    context: ExchangeContext
    ids: OwnerIds

    @classmethod
    def of(cls, context: ExchangeContext) -> "CallIds":
        service, client_request = context.service, context.client_request
        accounts = accounts_of(_entries_with_calls(service.router.entries_with(ENDPOINT)), (), has_several_owners=True)
        owner = service.admission.holder(client_request.client, client_request.headers)
        return cls(context, OwnerIds(accounts, owner))

    def client_id(self, native: str, entry: ModelEntry) -> str:
        """Return the client's id for ``native`` at ``entry``. Raises ``GatewayError`` if nothing can sign it."""
        return self.ids.client_id(native, self._account(entry))

    def _account(self, entry: ModelEntry) -> Account:
        return next(one for one in self.ids.accounts if entry in one.entries)

    def find_call(self, client_id: str, suffix: str = "") -> tuple[Target, str]:
        """Return a target with the URL of the call ``client_id``, and the provider's id of the call.

        With ``suffix``, such as ``/hangup``, the URL is ``/calls/{id}{suffix}``, else the endpoint's.

        Raises ``GatewayError`` (404) for a call of another client."""
        authenticator, client = self.context.service.authenticator, self.context.client_request.client
        found = self.ids.find(client_id)
        entry = None
        if found is not None:
            entry = found.account.first_entry(lambda one: authenticator.can_use(client, one.name))
        if found is None or entry is None:
            raise unknown_id_error(client_id, "call_id")
        place = entry.place_of(ENDPOINT, entry.model)
        assert place is not None, "it has calls"
        path = f"/calls/{quote(found.native, safe='')}{suffix}" if suffix else ""
        url = endpoint_url(entry.base_url, entry.row(entry.model), place, entry.model, path)
        target = attrs.evolve(passthrough_target(entry, "chat", entry.model, url), endpoint_place=place)
        return target, found.native


def _entries_with_calls(entries: Iterable[ModelEntry]) -> tuple[ModelEntry, ...]:
    return tuple(
        one for one in entries if (place := one.place_of(ENDPOINT, one.model)) is not None and place.shape in OF_OPENAI
    )


# The beginning of a call


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
    if not context.service.authenticator.realtime_grant(client).calls:
        raise GatewayError("permission", _NO_KEY if client is None else _NOT_GRANTED.format(client))


_NOT_GRANTED: Final = (
    "the key {!r} may not make calls, whose audio bypasses the gateway: to allow them, set `realtime: {{calls: "
    "true}}` for the key in the configuration"
)
_NO_KEY: Final = (
    "calls bypass the gateway, so only clients with a key may make them: set client_keys in the configuration"
)
