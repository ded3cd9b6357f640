"""Requests to any path of a provider, with the entry's credential and the same limits and checks as others."""

import codecs
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

import attrs
import msgspec

from gateway.allowances.reservation import CountedAs
from gateway.config.model_entry import ModelEntry
from gateway.exchange.planned import PlannedRequest, as_prepared
from gateway.features.pass_through.addresses import FoundModels, base_url_of, is_unsafe_path, read_address
from gateway.http.headers import Headers, sent_credential
from gateway.http.offload import offload
from gateway.http.passing import HeaderNames
from gateway.relay.answers import ApiUsageReader, PassedAnswer, bad_answer_error
from gateway.relay.outputs import FORM_ENDPOINTS, endpoint_of_path, form_output, no_output, read_safely, reader_of_path
from gateway.relay.relaying import (
    JSON,
    InboundRequest,
    RelayedRequest,
    client_credentials,
    without_charset,
)
from gateway.relay.uploads import ChainedPieces, read_priced_upload, read_upload
from gateway.request.further_models import further_models
from gateway.request.members import STRING, check_members, decode_member, text_of
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared, RequestedOutput
from gateway.request.public_errors import redact_text, secrets_of
from gateway.request.routing_options import MODELS, read_headers
from gateway.request.wire import MediaTypes
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.upstream.request import UploadedBody
from providers.catalog.prices import cost_of
from providers.endpoints.audio_length import AudioLength
from providers.endpoints.endpoint import EndpointName
from providers.errors.answer_form import UNCHECKED
from providers.neutral.codec import Outgoing
from streams.errors import GatewayError, invalid
from streams.events import Api, Usage
from streams.surrogates import NOT_JSON

UNBILLED_METHODS: Final = ("GET", "DELETE")
"""Methods that run no model: usage in their responses was billed before, so it is not billed again."""

PASSED_REQUEST_HEADERS: Final = HeaderNames.of((
    "range", "if-range", "if-none-match", "if-match", "if-modified-since", "if-unmodified-since", "accept-language",
    "x-goog-upload-*", "prefer",
))  # fmt: skip
"""Additional request headers to pass on: they concern the requested resource."""

PASSED_RESPONSE_HEADERS: Final = HeaderNames.of(
    ("cache-control", "expires", "location", "x-goog-upload-*", "retry-after")
)
"""Additional response headers to pass on."""

PASSED_STATUSES: Final = frozenset((301, 302, 303, 304, 307, 308))
"""Statuses passed to the client unchanged: the gateway follows no redirects."""


async def read_passed(
    entry: ModelEntry, name: str, inbound: InboundRequest, names: Mapping[str, str]
) -> RelayedRequest:
    """Read a request that goes unchanged to the provider of ``entry``. ``name`` is the first segment of its path."""
    service, record = inbound.context.service, inbound.context.record
    record.bill.billed = is_billed = inbound.arrival.asgi["method"] not in UNBILLED_METHODS
    if is_billed and read_headers(inbound.context.client_request).names:
        raise invalid(f"{MODELS} does not apply to paths of a provider: remove the header", MODELS)
    address = read_address(inbound.context, inbound.arrival, entry, name)
    rest, api, target, models = address.rest, address.api, address.target, address.models
    endpoint = endpoint_of_path("/" + rest)
    output: RequestedOutput | None = None
    if endpoint in FORM_ENDPOINTS and service.allowances.has_limits and _media_type(inbound) == _FORM:
        incoming, upload, more, output = await _read_form(inbound, endpoint)
    else:
        is_priced = service.allowances.has_limits and endpoint not in _FILE_ENDPOINTS and not rest.startswith("upload/")
        body = read_limited_body(inbound) if address.is_limited else _read_body(inbound, is_priced)
        incoming, upload, more = await body
    for at, model in (*models, *more):
        inbound.context.check_additional_model(at, model, entry)
    target = _with_dearest_model(target, [model for _, model in (*models, *more)])
    record.requested_model = incoming.model or target.requested_name
    record.target, record.model, record.provider_api = target.name, target.model, target.api
    if output is None:
        read = reader_of_path(api, "/" + rest) if is_billed else no_output
        output = await offload(len(incoming.body), read_safely, read, incoming.body)
    outgoing = Outgoing(
        incoming.body, _select_headers(inbound.headers, PASSED_REQUEST_HEADERS, sent_credential(inbound.headers))
    )
    planned = PlannedRequest(
        incoming, Plan.once(target), as_prepared(Prepared(outgoing, output=output)),
        method=inbound.arrival.asgi["method"], suffix="", upload=upload, success_statuses=PASSED_STATUSES,
        media=MediaTypes(_sent_type(inbound, incoming), inbound.header("accept") or "*/*"),
        counted_as=CountedAs.ANSWER if is_billed else CountedAs.LATER,
    )  # fmt: skip
    limit = service.settings.limits.event
    base = base_url_of(entry)
    return RelayedRequest(planned, lambda one: _PassThroughAnswer(api, limit, one, base, name))


def _select_headers(headers: Headers, names: HeaderNames, credential: str | None) -> Headers:
    """Return those of ``headers`` in ``names``, except those with a credential."""
    shown = (*client_credentials(headers), *((credential,) if credential else ()))
    return tuple(pair for pair in headers if pair[0] in names and not any(word in pair[1] for word in shown))


_FORM: Final = "multipart/form-data"
_FILE_ENDPOINTS: Final[tuple[EndpointName, ...]] = ("files", "uploads", "containers")
"""Endpoints whose bodies may be files with JSON lines, and which run no model."""


def _media_type(inbound: InboundRequest) -> str:
    """Return the body's media type without parameters."""
    return (inbound.header("content-type") or "").partition(";")[0].strip().lower()


def _sent_type(inbound: InboundRequest, incoming: Incoming) -> str | None:
    """Return the content type for the provider, which must read a body as the gateway has read it."""
    kind = inbound.header("content-type")
    return without_charset(kind) if kind and incoming.body else kind


async def _read_form(
    inbound: InboundRequest, endpoint: EndpointName
) -> tuple[Incoming, UploadedBody | None, FoundModels, RequestedOutput]:
    """Read a form for ``endpoint`` to its end, and return it with its model and the output that it allows."""
    length = AudioLength()
    upload = await read_priced_upload(inbound, length.feed)
    models = () if upload.model is None else (("model", upload.model),)
    incoming = inbound.unread_request(upload.model, False, upload.fields)
    return incoming, await upload.unchanged_body(), models, form_output(endpoint, upload.fields, length)


async def _read_body(inbound: InboundRequest, is_priced: bool) -> tuple[Incoming, UploadedBody | None, FoundModels]:
    """Read the request of a client that may use all models.

    A JSON body is read for its model, others are passed on as they arrive. Raises ``GatewayError``: 415 for JSON that
    is declared as something else, if it ``is_priced``, because its reservation would be too small."""
    kind = _media_type(inbound)
    length = inbound.header("content-length")
    has_unknown_length = (
        length is None and inbound.arrival.asgi["http_version"] == "2"
    )  # HTTP/2 frames delimit the body
    if not (has_unknown_length or inbound.header("transfer-encoding") is not None or length not in (None, "", "0")):
        return await inbound.bodiless_request(), None, ()
    if kind == JSON or kind.endswith("+json"):
        body = await inbound.read_body()
        members, models = await offload(len(body) // 2, _members_and_models, body)
        model = next((name for at, name in models if at == "model"), None)
        return inbound.record_request(_json_request(inbound, body, members, model)), None, models
    pieces: AsyncIterator[bytes] = inbound.arriving_pieces()
    if has_unknown_length:
        if not (first := await anext(pieces, b"")):
            return inbound.unread_request(None, False), None, ()
        pieces = ChainedPieces(first, pieces)
    if is_priced and kind != _FORM:
        pieces = await _check_no_json(pieces)
    return inbound.unread_request(None, False), UploadedBody(pieces, inbound.stated_length), ()


def _json_request(
    inbound: InboundRequest, body: bytes, members: Mapping[str, msgspec.Raw], model: str | None
) -> Incoming:
    stream = bytes(members.get("stream", b"")) == b"true"
    return Incoming(inbound.context.codec.api, body, members, model, stream)


async def _check_no_json(pieces: AsyncIterator[bytes]) -> ChainedPieces:
    """Return the same pieces. Raises ``GatewayError`` (415) if they begin like JSON or with too many blanks."""
    beginning = await _read_beginning(pieces)
    if beginning and beginning.lstrip(_BLANK)[:1] in (b"{", b"[", b""):
        raise GatewayError("invalid_request", f"set the content-type to {JSON}", status=415)
    return ChainedPieces(beginning, pieces)


def _members_and_models(body: bytes) -> tuple[Mapping[str, msgspec.Raw], FoundModels]:
    """Return the members of a JSON body, none if it is no object, and the models in it.

    Raises ``GatewayError`` (400) for duplicate members."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        return {}, ()
    check_members(body, members)
    return members, tuple(_texts(members, ("model", *_OTHER_MEMBERS)))


def _texts(members: Mapping[str, msgspec.Raw], names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the members in ``names`` that are texts, with their names."""
    for name in names:
        try:
            yield name, msgspec.json.decode(members.get(name, b"null"), type=str)
        except NOT_JSON:
            continue


_PROMPT: Final = Usage(input=1000, output=1000)


def _with_dearest_model(target: Target, models: Iterable[str]) -> Target:
    """Return ``target`` with the dearest of ``models``; an unknown price is the highest.

    A request may name several, and the provider decides which one it serves. Google's SDK writes ``models/NAME`` in a
    body."""
    found = [attrs.evolve(target, model=name) for name in dict.fromkeys(one.removeprefix("models/") for one in models)]
    if len(found) <= 1:
        return found[0] if found else target
    return max(found, key=lambda one: math.inf if one.price is None else cost_of(one.price, _PROMPT).nanos)


class _PassThroughAnswer(PassedAnswer):
    """A filter of the response of ``target`` below ``base``, which makes redirects lead to the gateway or fail."""

    def __init__(self, api: Api, event_limit: int, target: Target, base: SplitResult, name: str) -> None:
        super().__init__(ApiUsageReader(api), event_limit, form=UNCHECKED)
        self._target = target
        self._base = base
        self._name = name

    def head(self, status: int, headers: Headers) -> Headers:
        passed = _select_headers(headers, PASSED_RESPONSE_HEADERS, None)
        own: Headers = ()
        for name, value in passed:
            try:
                own = (*own, (name, self._gateway_location(value) if name == "location" else value))
            except GatewayError:
                if 300 <= status < 400:  # otherwise it is the address of an object (RFC 9110, section 10.2.2)
                    raise
        if not any(name == "cache-control" for name, _ in own):
            own = (*own, ("cache-control", "no-store"))
        return (*super().head(status, headers), *own)

    def _gateway_location(self, location: str) -> str:
        """Return the gateway's path for the URL in a ``location`` header.

        Raises ``GatewayError`` (502) for a URL that is not below the entry's ``base_url``."""
        try:
            to = urlsplit(urljoin(self._target.url, location))
        except ValueError:
            raise bad_answer_error("the provider redirects to an invalid address") from None
        if not to.netloc or urlsplit(location)[:2] == (to.scheme, ""):
            raise bad_answer_error("the provider redirects to an address without a host")
        if to[:2] != self._base[:2]:
            raise bad_answer_error(
                f"the provider redirects to {to.scheme}://{to.netloc}: set that as base_url of the entry"
            )
        root = self._base.path.rstrip("/") + "/"
        if not to.path.startswith(root):
            raise bad_answer_error(f"the provider redirects to {to.path[:200]}, which is outside the entry's base_url")
        rest = to.path.removeprefix(root)
        if is_unsafe_path(rest.encode(errors="surrogatepass")):
            raise bad_answer_error("the provider redirects to a path with empty or dot segments")
        own = set(map(unquote, self._base.query.split("&")))
        query = "&".join(pair for pair in to.query.split("&") if unquote(pair) not in own)
        found = urlunsplit(("", "", f"/{self._name}/{rest}", query, to.fragment))
        return redact_text(found, secrets_of(self._target, None))


# Models in a request. A provider may read the model in several positions. For a client with limited models, each is
# checked, and nothing passes that could hide one.

_OTHER_MEMBERS: Final = ("model_id", "modelId", "model_name", "modelName", "deployment", "engine")
_CONTAINERS: Final = ("session", "data_source", "testing_criteria", "grader", "method")
"""Members with models at other endpoints of OpenAI: realtime sessions, evaluations, graders, also those of training."""
_BLANK: Final = b" \t\r\n\0" + codecs.BOM_UTF8 + codecs.BOM_UTF16_LE
_MAX_BLANK: Final = 64 * 1024


async def read_limited_body(inbound: InboundRequest) -> tuple[Incoming, UploadedBody | None, FoundModels]:
    """Read the request of a client with limited models, and return all models in its body.

    Raises ``GatewayError``, also for a body that could hide a model."""
    kind = _media_type(inbound)
    if kind == _FORM:
        upload = await read_upload(inbound, is_limited=True)
        models = () if upload.model is None else (("model", upload.model),)
        return inbound.unread_request(upload.model, False, upload.fields), await upload.unchanged_body(), models
    if kind == "application/x-www-form-urlencoded":
        raise invalid(
            "this key is limited to some models, so it may pass through only JSON, multipart/form-data and binary "
            "bodies, not forms"
        )
    if kind != JSON and not kind.endswith("+json"):
        pieces = inbound.arriving_pieces()
        if not (first := await anext(pieces, b"")):
            return inbound.unread_request(None, False), None, ()
        passed = await _check_no_json(ChainedPieces(first, pieces))
        return inbound.unread_request(None, False), UploadedBody(passed, inbound.stated_length), ()
    body = await inbound.read_body()
    if not body:
        return inbound.unread_request(None, False), None, ()
    incoming, found = await offload(len(body), partial(_limited_json, inbound), body)
    return inbound.record_request(incoming), None, found


def _limited_json(inbound: InboundRequest, body: bytes) -> tuple[Incoming, FoundModels]:
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        raise invalid("this key is limited to some models, so the body must be a JSON object") from None
    check_members(body, members)
    model = decode_member(members, "model", STRING, "a string")
    beside = tuple((name, text) for name in _OTHER_MEMBERS if (text := text_of(members.get(name))) is not None)
    incoming = _json_request(inbound, body, members, model)
    own = () if model is None else (("model", model),)
    return incoming, (*own, *beside, *further_models(incoming, _CONTAINERS))


async def _read_beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """Read the body up to the piece with its first non-blank byte."""
    beginning = b""
    async for piece in pieces:
        beginning += piece
        if beginning.strip(_BLANK) or len(beginning) > _MAX_BLANK:
            break
    return beginning
