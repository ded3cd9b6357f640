"""Answers that are no exchange with a provider: refusals, and all about what is stored. Of these only the failing ones
get a line in the ledger."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec
from quart import g, request
from quart_trio import QuartTrio
from werkzeug.exceptions import NotFound

from gateway.conversations.deadline import unavailable
from gateway.endpoints.bodies import decompressed
from gateway.endpoints.plain_answers import PRIVATE, json_response, request_ids
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
from gateway.serving.quart_requests import read_body
from gateway.serving.quart_views import View, add_view, current_scope
from gateway.stores.store import Store, Unavailable
from providers.neutral.fields import Fields, too_deep
from providers.responses.ids import is_own_id
from providers.responses.kept_items import page
from streams.errors import GatewayError, invalid
from streams.events import Api, ErrorInfo

T = TypeVar("T")

_OFF = "this gateway keeps no state (state_storage: {type: none} in its configuration): nothing is stored here"

AskProviders: TypeAlias = Callable[[str], Awaitable[Response | None]]
"""The answer of the provider that keeps what has this id, ``None`` where none does. The request is Quart's current one;
``GatewayError`` may be raised."""

Route: TypeAlias = tuple[str, View, str]
"""The path behind an id, what answers there, and to which method."""


def answering(view: View, ledger: Ledger) -> View:
    """``view``, its failures answered as OpenAI does: ``GatewayError``, and ``Unavailable`` with a 503."""

    async def answer(**variables: str) -> Response:
        try:
            return await view(**variables)
        except GatewayError as error:
            return refused(error.failed, "responses", ledger)
        except Unavailable as error:
            return refused(unavailable(str(error)).failed, "responses", ledger)
        except RecursionError:
            return refused(too_deep().failed, "responses", ledger)

    return answer


def answering_by_id(view: View, ledger: Ledger, ask_providers: AskProviders | None) -> View:
    """The same for a view of what has an ``id``, which is answered where that is kept."""

    async def answer(id: str, **variables: str) -> Response:
        if ask_providers is not None and not is_own_id(id) and (response := await ask_providers(id)) is not None:
            return response
        return await view(id=id, **variables)

    return answering(answer, ledger)


def add_routes(
    app: QuartTrio, place: str, routes: Iterable[Route], ledger: Ledger, ask_providers: AskProviders | None
) -> None:
    """Add views of what has an ``id``, which stands in the path behind ``place``."""
    name = place.rpartition("/")[2]
    for path, view, method in routes:
        answer = answering_by_id(view, ledger, ask_providers)
        add_view(app, f"{place}/<id>{path}", f"{name}.{view.__name__}", answer, [method])


def object_answer(value: Any) -> Response:
    """``value`` of the Responses or Conversations API as JSON, with status 200 and the request's id under OpenAI's name
    alone: the path is OpenAI's, whatever client asks."""
    headers = (*JSON_HEADERS, *PRIVATE, ("x-request-id", current_scope().id))
    return Response(200, headers, msgspec.json.encode(value))


def refused(failed: ErrorInfo, api: Api, ledger: Ledger) -> Response:
    """``failed`` on record, in the shape of ``api``, which is that of the path."""
    return responding.refused(record_of(api, ledger), failed)


def record_of(api: Api, ledger: Ledger) -> Record:
    """The one record of the request that is being handled, settled when its last task has ended."""
    record: Record | None = g.get("record")
    if record is None:
        served = not isinstance(request.routing_exception, NotFound)
        record = g.record = responding.open_record(api, ledger, current_scope(), served=served)
        record.client = g.get("client")
    return record


def json_answer(value: Any, status: int = 200) -> Response:
    """Return ``value`` as JSON, with the request's id under the names of the client's API: the path is nobody's."""
    return json_response(value, current_scope().id, client_headers(), status)


def is_anthropic() -> bool:
    """The request that is being handled comes from an Anthropic client."""
    return paths.is_anthropic(client_headers())


def ids() -> Headers:
    """The request's id, for an Anthropic client also under the name that its SDK reads."""
    return request_ids(current_scope().id, client_headers())


# What a view needs


def client_headers() -> Headers:
    """The headers of the request that is being handled, names in lower case."""
    return as_text(request.scope["headers"])


def asked_by_client() -> ClientRequest:
    """The headers, query and client of the request that is being handled: what it says beside its body."""
    return ClientRequest(client_headers(), request.query_string.decode("latin-1"), g.get("client"))


def owner() -> str:
    """Under whose name the client's things are stored."""
    return g.get("owner") or ""


def require_store(store: Store | None) -> Store:
    """``store``. Raises ``GatewayError`` (400) where state is switched off."""
    if store is None:
        raise invalid(_OFF)
    return store


async def read_members(service: Service, read: Callable[[Fields], T]) -> T:
    """What ``read`` makes of the members of the request's JSON body; without a body there are none.

    Raises ``GatewayError`` (400, 408, 413, 415)."""
    body = await plain_body(service)
    return await offload(len(body), lambda: read(Fields(_members(body))))


def _members(body: bytes) -> dict[str, Any]:
    """Raises ``GatewayError`` (400)."""
    body = body or b"{}"
    try:
        check_members(body, msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.ValidationError:
        raise invalid("the request body must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"the request body is not valid JSON: {error}") from None
    except RecursionError:
        raise too_deep() from None


async def plain_body(service: Service) -> bytes:
    """The request's body, decompressed. Raises ``GatewayError``."""
    held = service.admission.body(owner(), current_scope())
    return await decompressed(request.headers.getlist("content-encoding"), read_body, held, service.limits)


Object: TypeAlias = dict[str, Any]

_TRUTHS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
_LAST = 2**53  # the largest whole number that every reader of JSON knows


def listed(items: Iterable[Object]) -> Object:
    """The page of ``items`` that the request which is being handled asks for. Raises ``GatewayError`` (400).

    An item that comes twice is listed once: a client may send again what is there already, and who asks for what is
    behind the second would be taken to the first and go round in circles. ``include`` is not looked at: nothing that
    is stored is left out."""
    distinct: dict[Any, Object] = {}
    for item in items:
        distinct.setdefault(item.get("id"), item)
    query = request.args
    return page(
        list(distinct.values()), query.get("after"), query.get("before"), query.get("limit"), query.get("order")
    )


def read_number(name: str) -> int | None:
    """A whole number, ``None`` if it is not there. Raises ``GatewayError`` (400)."""
    text = request.args.get(name)
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_LAST)) else -1
    if not 0 <= number <= _LAST:
        raise invalid(f"{name} must be a whole number, not {text[:20]!r}", name)
    return number


def read_flag(name: str) -> bool:
    """Raises ``GatewayError`` (400) for what is neither true nor false."""
    text = request.args.get(name, "false")
    if (truth := _TRUTHS.get(text.lower())) is None:
        raise invalid(f"{name} must be true or false, not {text[:20]!r}", name)
    return truth
