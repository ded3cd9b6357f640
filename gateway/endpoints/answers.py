"""Responses outside exchanges: rejections, and everything about stored objects.

Only failures and requests that steps have checked get a ledger line."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from quart import g, request
from quart_trio import QuartTrio
from werkzeug.exceptions import NotFound

from gateway.conversations.deadline import unavailable
from gateway.endpoints.plain_answers import PRIVATE, json_response, request_ids
from gateway.endpoints.request_body import read_decompressed
from gateway.exchange import responding
from gateway.exchange.service import Service
from gateway.http import paths
from gateway.http.headers import Headers, as_text
from gateway.http.offload import offload
from gateway.http.response import JSON_HEADERS, Response
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.request.members import check_members
from gateway.serving.quart_views import View, add_view, current_scope, read_body
from gateway.stores.store import Store, Unavailable
from providers.neutral.fields import Fields, too_deep_error
from providers.responses.kept_items import page
from providers.responses.tools import is_own_id
from streams.errors import GatewayError, invalid
from streams.events import Api, ErrorInfo
from streams.surrogates import NOT_JSON, describe_json_error

T = TypeVar("T")

_NO_STATE = "this gateway stores no state (state_storage: {type: none} in its configuration)"

_STORED: Final[Api] = "responses"
"""The API of most stored objects."""

QueryProviders: TypeAlias = Callable[[str], Awaitable[Response | None]]
"""A function that returns the response of the provider that stores an id, ``None`` if none does.

It concerns the current request of Quart, and may raise ``GatewayError``."""

Route: TypeAlias = tuple[str, View, str]
"""The path after an id, its view and its method."""


def with_error_responses(view: View, ledger: Ledger, api: Api = _STORED) -> View:
    """Wrap ``view``: its exceptions become error responses in the format of ``api``, ``Unavailable`` a 503."""

    async def answer(**variables: str) -> Response:
        try:
            response = await view(**variables)
        except GatewayError as error:
            return error_response(error.info, api, ledger)
        except Unavailable as error:
            return error_response(unavailable(str(error)).info, api, ledger)
        except RecursionError:
            return error_response(too_deep_error().info, api, ledger)
        record: Record | None = g.get("record")
        if record is not None and record.status is None:  # opened by the operator's steps
            record.bill.is_complete = True
            record.mark_answered(response.status)
        return response

    return answer


def with_provider_lookup(
    view: View, ledger: Ledger, query_providers: QueryProviders | None, api: Api = _STORED
) -> View:
    """Wrap ``view`` of an object: for an ``id`` that the gateway did not make, query the providers first.

    Failures are handled as in ``with_error_responses``."""

    async def answer(id: str, **variables: str) -> Response:
        if query_providers is not None and not is_own_id(id) and (response := await query_providers(id)) is not None:
            return response
        return await view(id=id, **variables)

    return with_error_responses(answer, ledger, api)


def add_routes(
    app: QuartTrio,
    prefix: str,
    routes: Iterable[Route],
    ledger: Ledger,
    query_providers: QueryProviders | None,
    api: Api = _STORED,
) -> None:
    """Add views of objects whose ``id`` follows ``prefix`` in the path; errors have the format of ``api``."""
    name = prefix.rpartition("/")[2]
    for path, view, method in routes:
        answer = with_provider_lookup(view, ledger, query_providers, api)
        add_view(app, f"{prefix}/<id>{path}", f"{name}.{view.__name__}", answer, [method])


def object_response(value: Any) -> Response:
    """Return ``value`` of the Responses or Conversations API as JSON with status 200.

    The request's id has OpenAI's header name alone, because the path is OpenAI's, whichever client sends the
    request."""
    headers = (*JSON_HEADERS, *PRIVATE, ("x-request-id", current_scope().id))
    return Response(200, headers, msgspec.json.encode(value))


def error_response(error: ErrorInfo, api: Api, ledger: Ledger) -> Response:
    """Record ``error``, and return its response in the format of ``api``, the path's."""
    return responding.error_response(current_record(api, ledger), error)


def current_record(api: Api, ledger: Ledger) -> Record:
    """Return the record of the current request, opened by the first call and settled when the request's tasks end."""
    record: Record | None = g.get("record")
    if record is None:
        served = not isinstance(request.routing_exception, NotFound)
        record = g.record = responding.open_record(api, ledger, current_scope(), served=served)
        record.client = g.get("client")
    return record


def json_answer(value: Any, status: int = 200) -> Response:
    """Return ``value`` as the JSON response on a path that belongs to no API, with the headers of the request's id."""
    return json_response(value, current_scope().id, client_headers(), status)


def is_anthropic() -> bool:
    return paths.is_anthropic(client_headers())


def id_headers() -> Headers:
    """Return the headers with the current request's id, for Anthropic clients also under their SDK's name."""
    return request_ids(current_scope().id, client_headers())


# For views


def client_headers() -> Headers:
    """Return the headers of the current request, with lower-case names."""
    return as_text(request.scope["headers"])


def current_client_request() -> ClientRequest:
    """Return the current request's headers, query and client."""
    return ClientRequest(client_headers(), request.query_string.decode("latin-1"), g.get("client"))


def current_owner() -> str:
    """Return the name under which the client's objects are stored."""
    return g.get("owner") or ""


def require_store(store: Store | None) -> Store:
    """Return ``store``. Raises ``GatewayError`` (400) without state storage."""
    if store is None:
        raise invalid(_NO_STATE)
    return store


async def read_members(
    service: Service, read: Callable[[Fields], T], check: Callable[[bytes], Awaitable[bytes]] | None = None
) -> T:
    """Return the result of ``read`` for the members of the request's JSON body, which may be missing. ``check`` may
    change the body first.

    Raises ``GatewayError`` (400, 408, 413, 415)."""
    body = await read_plain_body(service)
    if check is not None and body:
        body = await check(body)
    return await offload(len(body), lambda: read(Fields(_members(body))))


def _members(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON object. Raises ``GatewayError`` (400)."""
    body = body or b"{}"
    try:
        check_members(body, msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.ValidationError:
        raise invalid("the request body must be a JSON object") from None
    except RecursionError:
        raise too_deep_error() from None
    except NOT_JSON as error:
        raise invalid(f"the request body is not valid JSON: {describe_json_error(error)}") from None


async def read_plain_body(service: Service) -> bytes:
    """Return the request's body, decompressed. Raises ``GatewayError``."""
    held = service.admission.body(current_owner(), current_scope())
    return await read_decompressed(request.headers.getlist("content-encoding"), read_body, held, service.limits)


Object: TypeAlias = dict[str, Any]

_BOOLEANS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
_MAX_INTEGER = 2**53  # every JSON reader represents integers up to here exactly


def list_page(items: Iterable[Object]) -> Object:
    """Return the page of ``items`` that the current request selects. Raises ``GatewayError`` (400).

    Duplicate items are listed once, because a cursor at the second would lead back to the first. ``include`` is
    ignored: stored objects are complete."""
    distinct: dict[Any, Object] = {}
    for item in items:
        distinct.setdefault(item.get("id"), item)
    query = request.args
    return page(
        list(distinct.values()), query.get("after"), query.get("before"), query.get("limit"), query.get("order")
    )


def read_number(name: str) -> int | None:
    """Return an integer query parameter, ``None`` if it is missing. Raises ``GatewayError`` (400)."""
    text = request.args.get(name)
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_INTEGER)) else -1
    if not 0 <= number <= _MAX_INTEGER:
        raise invalid(f"{name} must be a whole number, not {text[:20]!r}", name)
    return number


def read_flag(name: str) -> bool:
    """Return a boolean query parameter, false if it is missing. Raises ``GatewayError`` (400)."""
    text = request.args.get(name, "false")
    if (truth := _BOOLEANS.get(text.lower())) is None:
        raise invalid(f"{name} must be true or false, not {text[:20]!r}", name)
    return truth
