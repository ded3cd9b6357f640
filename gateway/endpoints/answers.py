"""Requests outside exchanges: their admission, and responses about stored objects.

Only failures and requests that steps have checked get a ledger line."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec

from gateway.conversations.deadline import unavailable
from gateway.endpoints.plain_answers import PRIVATE
from gateway.endpoints.request_body import read_decompressed
from gateway.exchange import responding
from gateway.exchange.service import Service
from gateway.http import paths
from gateway.http.offload import offload
from gateway.http.response import JSON_HEADERS, Response
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.request.members import check_members
from gateway.request.public_errors import MISTAKE
from gateway.request.structure import check_text
from gateway.serving.incoming_request import IncomingRequest
from gateway.serving.route_table import Handler
from gateway.stores.errors import Unavailable
from gateway.stores.store import Store
from providers.neutral.fields import Fields, too_deep_error
from providers.responses.kept_items import page
from providers.responses.tools import is_own_id
from streams.errors import GatewayError, invalid
from streams.events import Api, ErrorInfo
from streams.surrogates import NOT_JSON, describe_json_error

log = logging.getLogger("trigate")

T = TypeVar("T")

_NO_STATE = "this gateway stores no state (state_storage: {type: none} in its configuration)"

_STORED: Final[Api] = "responses"
"""The API of most stored objects."""


class Call:
    """An admitted request outside exchanges, for the views of its path.

    ``client`` is the name of its client, ``owner`` the name under which the client's objects are stored, and ``api``
    that of its errors."""

    def __init__(self, service: Service, incoming: IncomingRequest, api: Api) -> None:
        self.service = service
        self.incoming = incoming
        self.api = api
        self.client: str | None = None
        self.owner = ""
        self.scope, self.headers = incoming.scope, incoming.headers
        self.method, self.path = incoming.asgi["method"], incoming.asgi["path"]
        self._record: Record | None = None
        self._body: bytes | None = None

    def admit(self, *, counts: bool) -> None:
        """Check the client's key. With ``counts``, the request counts as in flight. Raises ``GatewayError``."""
        admission = self.service.admission
        self.client = (admission.admit if counts else admission.authenticate)(self.incoming)
        self.owner = admission.holder(self.client, self.headers)

    @property
    def client_request(self) -> ClientRequest:
        return ClientRequest(self.headers, self.incoming.query, self.client)

    @property
    def record(self) -> Record:
        """The request's record, opened with the first use and settled when the request's tasks end."""
        if self._record is None:
            self._record = responding.open_record(self.api, self.service.ledger, self.scope)
            self._record.client = self.client
        return self._record

    def argument(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        pairs = parse_qsl(self.incoming.query, keep_blank_values=True)
        return next((value for key, value in pairs if key == name), None)

    def refuse(self, error: ErrorInfo) -> Response:
        return responding.error_response(self.record, error)

    def finish(self, response: Response) -> Response:
        """Return ``response``, and mark it in the record if the operator's steps opened one."""
        if self._record is not None:
            self._record.mark_served(response.status)
        return response

    async def read_body(self) -> bytes:
        """Return the body, decompressed; none for methods without one. Raises ``GatewayError``."""
        if self._body is not None or self.method not in _WITH_BODY:  # a lookup at providers may have read it
            return self._body or b""
        held = self.service.admission.body(self.owner, self.scope)
        codings = [value for name, value in self.headers if name == "content-encoding"]
        self._body = await read_decompressed(codings, self.incoming.read, held, self.service.settings.limits)
        return self._body


_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})

View: TypeAlias = Callable[..., Awaitable[Response]]
"""Called with the ``Call``, and with the variables of the path by name. May raise ``GatewayError`` and
``Unavailable``."""

QueryProviders: TypeAlias = Callable[[Call, str], Awaitable[Response | None]]
"""A function that returns the response of the provider that stores an id, ``None`` if none does.

It may raise ``GatewayError``."""


def handler_of(service: Service, view: View, api: Api | None = None, *, counts: bool = True) -> Handler:
    """Return ``view`` as a handler that checks the client's key, and responds to errors in the format of ``api``.

    Without ``api`` it is the path's. With ``counts`` the requests count as in flight."""

    async def answer(incoming: IncomingRequest, **names: str) -> Response:
        call = Call(service, incoming, paths.api_of(incoming.asgi["path"], incoming.headers))
        try:
            call.admit(counts=counts)
            call.api = api or call.api
            return call.finish(await view(call, **names))
        except GatewayError as error:
            return call.refuse(error.info)
        except Unavailable as error:
            return call.refuse(unavailable(str(error)).info)
        except RecursionError:
            return call.refuse(too_deep_error().info)
        except Exception:  # a bug in the gateway
            log.exception("request %s: unexpected error", incoming.scope.id)
            return call.refuse(MISTAKE)

    return answer


def object_views(
    service: Service, views: Iterable[View], query_providers: QueryProviders | None, api: Api = _STORED
) -> Mapping[str, Handler]:
    """Return the handlers of ``views`` by their names. For an ``id`` that the gateway did not make, they query the
    providers first."""

    def with_lookup(view: View) -> View:
        async def answer(call: Call, id: str, **names: str) -> Response:
            if query_providers is not None and not is_own_id(id):
                response = await query_providers(call, id)
                if response is not None:
                    return response
            return await view(call, id, **names)

        return answer

    return {view.__name__: handler_of(service, with_lookup(view), api) for view in views}


def object_response(call: Call, value: Any) -> Response:
    """Return ``value`` of the Responses or Conversations API as JSON with status 200.

    The request's id has OpenAI's header name alone, because the path is OpenAI's, whichever client sends the
    request."""
    return Response(200, (*JSON_HEADERS, *PRIVATE, ("x-request-id", call.scope.id)), msgspec.json.encode(value))


def require_store(store: Store | None) -> Store:
    """Return ``store``. Raises ``GatewayError`` (400) without state storage."""
    if store is None:
        raise invalid(_NO_STATE)
    return store


async def read_members(
    call: Call, read: Callable[[Fields], T], check: Callable[[Call, bytes], Awaitable[bytes]] | None = None
) -> T:
    """Return the result of ``read`` for the members of the request's JSON body, which may be missing. ``check`` may
    change the body first.

    Raises ``GatewayError`` (400, 408, 413, 415)."""
    body = await call.read_body()
    if check is not None and body:
        body = await check(call, body)
    return await offload(len(body), lambda: read(Fields(_members(body))))


def _members(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON object. Raises ``GatewayError`` (400)."""
    body = body or b"{}"
    try:
        check_text(body)
        check_members(body, msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.ValidationError:
        raise invalid("the request body must be a JSON object") from None
    except RecursionError:
        raise too_deep_error() from None
    except NOT_JSON as error:
        raise invalid(f"the request body is not valid JSON: {describe_json_error(error)}") from None


Object: TypeAlias = dict[str, Any]

_BOOLEANS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
_MAX_INTEGER = 2**53  # every JSON reader represents integers up to here exactly


def list_page(call: Call, items: Iterable[Object]) -> Object:
    """Return the page of ``items`` that the request selects. Raises ``GatewayError`` (400).

    Duplicate items are listed once, because a cursor at the second would lead back to the first. ``include`` is
    ignored: stored objects are complete."""
    distinct: dict[Any, Object] = {}
    for item in items:
        distinct.setdefault(item.get("id"), item)
    after, before, limit, order = map(call.argument, ("after", "before", "limit", "order"))
    return page(list(distinct.values()), after, before, limit, order)


def read_number(call: Call, name: str) -> int | None:
    """Return an integer query parameter, ``None`` if it is missing. Raises ``GatewayError`` (400)."""
    text = call.argument(name)
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_INTEGER)) else -1
    if not 0 <= number <= _MAX_INTEGER:
        raise invalid(f"{name} must be a whole number, not {text[:20]!r}", name)
    return number


def read_flag(call: Call, name: str) -> bool:
    """Return a boolean query parameter, false if it is missing. Raises ``GatewayError`` (400)."""
    given = call.argument(name)
    text = "false" if given is None else given
    if (truth := _BOOLEANS.get(text.lower())) is None:
        raise invalid(f"{name} must be true or false, not {text[:20]!r}", name)
    return truth
