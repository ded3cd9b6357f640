"""Pass-through of messages for MCP servers: ``POST /mcp/NAME`` (MCP, revision 2026-07-28, "Streamable HTTP").

The gateway checks the client's rights and limits, replaces the credential, and passes everything else on unchanged. It
reads a message only for its method, its tool and its id. Nothing is cached, sent twice, or sent to a second server."""

import base64
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import attrs
import msgspec

from gateway.config.model_entry import ModelEntry
from gateway.config.patterns import matches_one
from gateway.endpoints.border import admit_by_key
from gateway.exchange.planned import PlannedRequest, as_prepared
from gateway.exchange.service import Service
from gateway.features.mcp.feature import McpServer, may_use
from gateway.features.mcp.json_rpc import HEADER_MISMATCH, NO_ID, PARSE_ERROR, error_body, with_body
from gateway.features.page_paths import RESOURCE
from gateway.http.external_url import url_of_request
from gateway.http.headers import Headers, upstream_headers
from gateway.http.offload import offload
from gateway.http.passing import HeaderNames
from gateway.ledger.bill import Bill
from gateway.relay.answers import PassedAnswer, ResponseReader
from gateway.relay.endpoint_plans import passthrough_target
from gateway.relay.relaying import InboundRequest, RelayedRequest, client_credentials, without_charset
from gateway.request.members import TEXT, check_duplicates, decode_member
from gateway.request.parse import Incoming
from gateway.request.prepared import NO_OUTPUT, Prepared
from gateway.request.wire import MediaTypes
from gateway.routing.plan import Plan
from gateway.serving.incoming_request import IncomingRequest
from gateway.upstream.request import UploadedBody
from providers.catalog.prices import FREE
from providers.errors.answer_form import UNCHECKED
from providers.neutral.codec import Outgoing
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo, Usage
from streams.sse import SseEvents
from streams.surrogates import NOT_JSON, any_json, decode_or

_MESSAGE_HEADERS: Final = ("mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-*")
_SESSION_HEADERS: Final = ("mcp-session-id", "last-event-id")
_PASSED: Final = HeaderNames.of(_MESSAGE_HEADERS)
_PASSED_WITH_SESSIONS: Final = HeaderNames.of((*_MESSAGE_HEADERS, *_SESSION_HEADERS))
"""The headers that pass unchanged in both directions."""

PASSED_STATUSES: Final = frozenset(range(400, 600)) - {401, 403, 407}
"""Failure statuses that the client receives. The others concern the gateway's credential, or a proxy on the way."""

CALL: Final = "tools/call"
_NAME_MEMBERS: Final[Mapping[str, str]] = {CALL: "name", "prompts/get": "name", "resources/read": "uri"}
"""By method, the member of ``params`` that the header ``Mcp-Name`` repeats."""

_NO_METHOD: Final = re.compile(r"[^a-z/]+")
"""Characters that no method in ``_NAME_MEMBERS`` has."""

_LISTEN: Final = "subscriptions/listen"

_READ_MEMBERS: Final = frozenset(("method", "params", "id", "name", "uri"))
MAX_ID: Final = 4096
"""Bytes of a request's id, which the gateway's errors repeat."""

MAX_REFUSED: Final = 16 * 1024
"""Bytes of a message that is read only for the id in its refusal."""

_SHORTEST_KEY: Final = 8
"""Characters of a key that no header may contain. Shorter ones could be words."""


@attrs.frozen(repr=False)
class RpcMessage:
    """The parts of a JSON-RPC message that the gateway reads.

    ``id`` is its id as JSON, ``name`` that of its tool, prompt or resource. A client's response has no ``method``."""

    id: bytes = NO_ID
    method: str | None = None
    name: str | None = None


@attrs.define(eq=False, repr=False)
class RpcForms:
    """Writers of errors as JSON-RPC responses to the message with ``id``: a ``ResponseForms``."""

    id: bytes = NO_ID

    def error(self, error: ErrorInfo) -> ErrorInfo:
        return with_body(error, self.id)

    def headers(self, status: int, headers: Headers) -> Headers:
        return headers


def admit(service: Service, incoming: IncomingRequest) -> str | None:
    """Admit a request by its client's key, and return the client's name. Raises ``GatewayError``.

    If the gateway has issuers, a 401 also has the URL of the server's metadata: clients of MCP then sign in."""
    try:
        return admit_by_key(service, incoming)
    except GatewayError as error:
        info = with_body(error.info, _arrived_id(incoming))
        if info.status == 401 and "people" in service.opened.features:
            info = attrs.evolve(info, headers=tuple(_with_metadata(info.headers, incoming)))
        raise GatewayError.of(info) from None


def _with_metadata(headers: Headers, incoming: IncomingRequest) -> Iterator[tuple[str, str]]:
    """Yield ``headers`` with the URL of the server's metadata in the challenge (RFC 9728, section 5.1)."""
    url = f"{url_of_request(dict(incoming.asgi), incoming.headers)}{RESOURCE}{quote(incoming.asgi['path'])}"
    for name, value in headers:
        if name == "www-authenticate":
            yield name, f'{value}{"," if " " in value else ""} resource_metadata="{url}"'
        else:
            yield name, value


def _arrived_id(incoming: IncomingRequest) -> bytes:
    """Return the id of a refused client's message. If the message has not arrived with its head, its id is unknown."""
    forms = RpcForms()
    with contextlib.suppress(GatewayError):
        parse(incoming.take_arrived(MAX_REFUSED), forms)
    return forms.id


async def read_message(
    servers: Mapping[str, McpServer], inbound: InboundRequest, names: Mapping[str, str]
) -> RelayedRequest:
    """Read the request for one of ``servers``, and plan it. Raises ``GatewayError``."""
    context = inbound.context
    service, record, method = context.service, context.record, inbound.arrival.asgi["method"]
    record.forms = forms = RpcForms()
    body = await inbound.read_body() if method == "POST" else b""  # first, because errors repeat its id
    message = await offload(len(body), parse, body, forms) if method == "POST" else RpcMessage()
    fields = {"method": message.method, "name": message.name}
    record.details = {"mcp": {name: value for name, value in fields.items() if value is not None}}
    server = servers.get(names["name"])
    if server is None:
        help = "check the path" if servers else "the configuration has no mcp_servers"
        raise GatewayError("not_found", f"there is no MCP server {names['name'][:100]!r}: {help}")
    client = service.authenticator.rights_of(context.client_request.client)
    if client is not None and not may_use(client, server.name):
        text = f"the key {client.name!r} may not use the MCP server {server.name}: its `mcp` does not list it"
        raise GatewayError("permission", text, headers=(("x-should-retry", "false"),))
    if method != "POST" and not server.sessions:
        text = f"the MCP server {server.name} has no sessions: use POST"
        raise GatewayError("invalid_request", text, status=405, headers=(("allow", "POST"),))
    if server.only is not None:
        _check_allowed(server, server.only, message, inbound.headers)
    return _plan_request(server, inbound, message, body)


def _plan_request(server: McpServer, inbound: InboundRequest, message: RpcMessage, body: bytes) -> RelayedRequest:
    record, arrival = inbound.context.record, inbound.arrival
    method = arrival.asgi["method"]
    subscribes = method == "GET" or message.method == _LISTEN
    entry = _entry_for(server, message, subscribes=subscribes)
    assert entry.base_url is not None, "the configuration requires it"
    target = passthrough_target(entry, "chat", entry.model, entry.base_url)
    record.target, record.model, record.provider_api = target.name, target.model, target.api
    incoming = inbound.record_request(Incoming("chat", body, {}, None, False))
    passed = _PASSED_WITH_SESSIONS if server.sessions else _PASSED
    headers = _without_keys(inbound.headers, upstream_headers(inbound.headers, passed))
    kind = without_charset(inbound.header("content-type"))
    # An upload uses a new connection: a dead one from the pool could cause a second call.
    upload = UploadedBody(_one_piece(body), len(body)) if method == "POST" else None
    planned = PlannedRequest(
        incoming, Plan.once(target),
        as_prepared(Prepared(Outgoing(b"", headers), output=attrs.evolve(NO_OUTPUT, input=0))),
        method=method, suffix="", upload=upload, has_deadline=not subscribes,
        success_statuses=PASSED_STATUSES | {403} if server.knows_clients else PASSED_STATUSES,
        media=MediaTypes(kind, inbound.header("accept") or "*/*"),
    )  # fmt: skip
    limit = inbound.context.service.settings.limits.event
    ending_id = NO_ID if message.method == _LISTEN else message.id
    return RelayedRequest(
        planned,
        lambda _: _McpAnswer(inbound.context.bill, passed, limit, ending_id),
        last_event=partial(_last_event, message),
    )


def _entry_for(server: McpServer, message: RpcMessage, *, subscribes: bool) -> ModelEntry:
    """Return the server's entry with the price and the time limits of ``message``.

    A subscription may be silent for hours."""
    entry = server.entry
    assert entry is not None, "the configuration was built"
    if message.method != CALL:
        entry = attrs.evolve(entry, price=FREE)
    if subscribes:
        entry = attrs.evolve(entry, timeouts=attrs.evolve(entry.timeouts, idle=None, progress=None, total=None))
    return entry


async def _one_piece(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _last_event(message: RpcMessage, error: ErrorInfo) -> bytes:
    """Return the event that ends a failed stream: a ``LastEvent`` after its first argument."""
    return SseEvents().event("message", error_body(error, message.id))


# Messages


def parse(body: bytes, forms: RpcForms) -> RpcMessage:
    """Return the message in ``body``, and set the id of ``forms``.

    Raises ``GatewayError`` (400) for anything but one object, or for one that servers may read differently."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        if body.lstrip()[:1] == b"[":
            raise invalid("MCP has no batches: send each message in its own request") from None
        raise invalid("the body must be one JSON-RPC message, an object in UTF-8", code=PARSE_ERROR) from None
    _check_names(members)
    check_duplicates(body, members)
    forms.id = id = _id_of(members)
    method = decode_member(members, "method", TEXT, "a string")
    _check_method(method)
    name = None
    if (member := _NAME_MEMBERS.get(method or "")) is not None and "params" in members:
        name = decode_member(_params(members["params"]), member, TEXT, "a string", "params.")
    return RpcMessage(id, method, name)


def _check_names(members: Mapping[str, msgspec.Raw]) -> None:
    """Raise ``GatewayError`` (400) for a member that some servers read as another one.

    Go's decoder ignores the case of names (https://pkg.go.dev/encoding/json#Unmarshal)."""
    for name in members:
        if name not in _READ_MEMBERS and (meant := name[:100].casefold()) in _READ_MEMBERS:
            raise invalid(f"the member {name[:100]} differs from {meant} only in case: send {meant}", meant)


def _check_method(method: str | None) -> None:
    """Raise ``GatewayError`` (400) for another spelling of a method whose tool, prompt or resource is read.

    A server that ignores case, white space or the rest after a zero byte would call a tool unchecked and unpaid."""
    if method is not None and method not in _NAME_MEMBERS:
        meant = _NO_METHOD.sub("", method.partition("\0")[0].casefold())
        if meant in _NAME_MEMBERS:
            raise invalid(f"this method may be read as {meant}: write it so", "method")


def _params(raw: msgspec.Raw) -> Mapping[str, msgspec.Raw]:
    try:
        params = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        raise invalid("params must be an object", "params") from None
    _check_names(params)
    check_duplicates(bytes(raw), params)
    return params


def _id_of(members: Mapping[str, msgspec.Raw]) -> bytes:
    """Return the id as JSON: a string or an integer, otherwise null."""
    raw = bytes(members.get("id", NO_ID))
    if len(raw) > MAX_ID:
        raise invalid(f"the id has more than {MAX_ID} bytes: use a shorter one", "id")
    is_valid = raw[:1] == b'"' or raw.removeprefix(b"-").isdigit()
    return raw if is_valid else NO_ID


# Permitted tools


def _check_allowed(server: McpServer, only: tuple[str, ...], message: RpcMessage, headers: Headers) -> None:
    """Check the tool of ``message`` and the headers that repeat it. Raises ``GatewayError`` (400, 403)."""
    expected = {"mcp-method": message.method}
    if message.method in _NAME_MEMBERS:
        expected["mcp-name"] = message.name
    for header, value in headers:
        if header in expected and decode_value(value) != expected[header]:
            raise invalid(
                f"the header {header} differs from the message: send the same value in both", code=HEADER_MISMATCH
            )
    if message.method == CALL and (message.name is None or not matches_one(message.name, only)):
        shown = (message.name or "")[:100]
        text = f"the gateway does not allow the tool {shown!r} at the MCP server {server.name}"
        raise GatewayError("permission", text, headers=(("x-should-retry", "false"),))


_ENCODED: Final = ("=?base64?", "?=")


def decode_value(value: str) -> str | None:
    """Return the text in a header of MCP, which encodes all but plain ASCII in base64; ``None`` if it is invalid."""
    start, end = _ENCODED
    if not (value.startswith(start) and value.endswith(end) and len(value) >= len(start) + len(end)):
        return value
    try:
        return base64.b64decode(value[len(start) : -len(end)], validate=True).decode()
    except ValueError:  # also for text outside ASCII
        return None


def _without_keys(received: Headers, passed: Headers) -> Headers:
    """Return the headers of ``passed`` without those that contain a key from the client's headers ``received``."""
    keys = [word for word in client_credentials(received) if len(word) >= _SHORTEST_KEY]
    return tuple((name, value) for name, value in passed if not any(key in value for key in keys))


class _McpAnswer(PassedAnswer):
    """A filter of a server's response with the headers in ``passed``. Failed calls cost nothing.

    Its stream ends with the response to ``ending_id``."""

    def __init__(self, bill: Bill, passed: HeaderNames, event_limit: int, ending_id: bytes) -> None:
        super().__init__(_AnsweredReader(ending_id), event_limit, form=UNCHECKED)
        self._bill = bill
        self._passed = passed

    def head(self, status: int, headers: Headers) -> Headers:
        self._bill.billed = status < 400
        own = tuple((name, value) for name, value in headers if name in self._passed)
        return (*super().head(status, headers), *own)


_MAX_SEARCHED: Final = 2**20
"""Bytes of an event in which the id of a response is found, because the search delays other streams."""


class _AnsweredReader(ResponseReader):
    """A reader of a server's responses, which have no tokens. The stream of a request ends with the response to its
    ``id``, although some servers do not close it then."""

    def __init__(self, id: bytes) -> None:
        self._id: object = decode_or(any_json, id, None)
        self._has_ended = False

    @property
    def usage(self) -> Usage | None:
        return Usage()

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    def read_event(self, name: str, data: bytes) -> None:
        if self._id is not None and len(data) <= _MAX_SEARCHED:
            message = decode_or(_decode_response, data, None)
            self._has_ended = self._has_ended or (message is not None and message.responds_to(self._id))


_ABSENT: Final = msgspec.Raw()


class _RpcResponse(msgspec.Struct):
    """The members of a server's message that show to which request it responds."""

    id: Any = None
    method: msgspec.Raw = _ABSENT
    result: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT

    def responds_to(self, id: object) -> bool:
        """Return whether this is the response to the request with ``id``, and no request of the server with the same
        one."""
        return self.id == id and not bytes(self.method) and bool(bytes(self.result) or bytes(self.error))


_decode_response: Final = msgspec.json.Decoder(_RpcResponse).decode
