"""The responses that ``trigate compare`` receives, read into the parts that a client's program reads."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import attrs
import msgspec

from gateway.commands.server_requests import ServerRequest, ServerResponse
from providers.apis import CODECS
from providers.grammar import judge
from providers.recordings import stream_framing
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event
from streams.fold import Answer, fold
from streams.framing import Framing, FramingError
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import decode_or

COST_HEADERS: Final = ("x-trigate-cost", "x-litellm-response-cost")
"""The headers with the cost of a response in dollars, of this gateway and of LiteLLM."""

_FREE_FORM: Final = frozenset(
    ("input", "args", "arguments", "metadata", "logprobs", "schema", "parameters", "properties")
)
"""Members whose content is the model's or the client's, so its shape does not depend on the server."""


@attrs.frozen
class ReadResponse:
    """A response with its content.

    ``answer`` is ``None`` for errors, for unreadable answers and for endpoints without a codec. ``broken_rule`` is the
    first rule of the API's grammar that it breaks, ``waived`` those that real providers break, too. ``error`` is the
    error object of the body or stream. ``members`` are the types of all JSON members by path. ``names`` are those of a
    stream's events, and the models of a list."""

    response: ServerResponse
    answer: Answer | None = None
    broken_rule: str = ""
    waived: frozenset[str] = frozenset()
    error: Mapping[str, Any] | None = None
    members: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    names: frozenset[str] = frozenset()
    is_stream: bool = False


def read_response(request: ServerRequest, response: ServerResponse) -> ReadResponse:
    """Return the content of a response. Never raises."""
    if response.problem and not response.body:
        return ReadResponse(response)
    framing = _stream_framing(request.api, response)
    events = [("", response.body)] if framing is None else _split(framing, response.body)
    values = [(name, value) for name, data in events if (value := _json(data)) is not None]
    if framing is None and not values:
        rule = "the body is not JSON" if "json" in response.media_type or request.api else ""
        return ReadResponse(response, broken_rule=rule)
    members: dict[str, str] = {}
    for name, value in values:
        members |= _member_types(value, "" if framing is None else name or _type(value))
    names = _listed_ids(request, values[0][1]) if framing is None else (name or _type(value) for name, value in values)
    error = next(filter(None, (_error_object(value) for _, value in values)), None)
    found = ReadResponse(response, members=members, names=frozenset(filter(None, names)), is_stream=framing is not None)
    if request.api is None:
        return attrs.evolve(found, error=None if found.is_stream else error)
    verdict = judge(request.api, response.body, streamed=found.is_stream, tolerant=True)
    broken = verdict.broken.rule if verdict.broken else ""
    answer, failed = None, True
    if found.is_stream:
        answer, failed = _fold_stream(request.api, events)
        broken = broken or ("the stream has no proper end" if verdict.outcome == "cut" else "")
    elif response.is_success:
        try:
            answer = fold(CODECS[request.api].read_answer(response.body))
        except (GatewayError, ValueError):
            broken = broken or "the body is not an answer of this API"
    return attrs.evolve(
        found, answer=answer, broken_rule=broken, waived=frozenset(verdict.waived), error=error if failed else None
    )


def _listed_ids(request: ServerRequest, value: Any) -> Iterator[str]:
    """Yield the names of the models in a list."""
    rows = value.get("data") if isinstance(value, dict) and request.method == "GET" else None
    yield from (str(row.get("id")) for row in (rows if isinstance(rows, list) else ()) if isinstance(row, dict))


def _stream_framing(api: Api | None, response: ServerResponse) -> Framing | None:
    if not response.is_success and response.status >= 400:
        return None
    return stream_framing(api or "chat", response.header("content-type"), response.body)


def _split(framing: Framing, body: bytes) -> list[tuple[str, bytes]]:
    try:
        return list(framing.parse_all(body))
    except FramingError:
        return []


def _fold_stream(api: Api, events: Sequence[tuple[str, bytes]]) -> tuple[Answer | None, bool]:
    """Return the complete answer of a stream, if it has one, and whether the stream ends with an error."""
    found: list[Event] = []
    try:
        found.extend(_read_events(api, events))  # keeps the events before an error
        return fold(found), False
    except (GatewayError, ValueError):
        return None, any(isinstance(event, ErrorInfo) for event in found)


def _read_events(api: Api, events: Iterable[tuple[str, bytes]]) -> Iterator[Event]:
    reader = CODECS[api].reader()
    for name, data in events:
        yield from reader.read_event(name, data)
    yield from reader.close()


def read_answer(api: Api, response: ServerResponse) -> Answer:
    """Return the answer in a successful response. Raises ``GatewayError`` for an error in it, and for other content."""
    framing = _stream_framing(api, response)
    if framing is None:
        return fold(CODECS[api].read_answer(response.body))
    try:
        return fold(_read_events(api, framing.parse_all(response.body)))
    except FramingError as error:
        raise GatewayError("upstream", f"the stream is not valid: {error}") from None


def _json(data: bytes) -> Any:
    """Return decoded JSON, or ``None`` for other data and for JSON that is too large to compare."""
    if has_more_elements(data, MAX_ELEMENTS):
        return None
    return decode_or(msgspec.json.decode, data, None)


def _type(value: Any) -> str:
    """Return the type of an event without a name, which Chat calls ``object``."""
    if not isinstance(value, dict):
        return ""
    found = value.get("type") or value.get("object")
    return found if isinstance(found, str) else ""


def _error_object(value: Any) -> Mapping[str, Any] | None:
    """Return the member ``error``, also within a ``response`` object; an error that is a text has only a message."""
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {"message": error}
    return _error_object(value["response"]) if isinstance(value.get("response"), dict) else None


_NAMES: Final = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}


def _member_types(value: Any, name: str) -> dict[str, str]:
    """Return the type of each member by its path, which starts with the event's ``name``. Null members are absent."""
    return dict(_walk(value, f"{name}: " if name else ""))


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if item is not None and item not in ([], {}):
                at = f"{path}{key}" if not path or path.endswith(" ") else f"{path}.{key}"
                yield at, _NAMES[type(item)]
                if key not in _FREE_FORM:
                    yield from _walk(item, at)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, f"{path}[]")


def cost_of(response: ServerResponse) -> Decimal | None:
    """Return the cost in dollars that the server reports in a header."""
    for name in COST_HEADERS:
        try:
            if (value := response.header(name)) is not None and (cost := Decimal(value)).is_finite():
                return cost
        except InvalidOperation:
            continue
    return None


def median_first_byte(responses: Sequence[ServerResponse]) -> float | None:
    """Return the median of the times to the first byte of the successful responses, in milliseconds."""
    times = [one.first_byte_ms for one in responses if one.is_success and one.first_byte_ms is not None]
    return round(statistics.median(times), 1) if times else None


def total_cost(responses: Sequence[ServerResponse]) -> Decimal | None:
    """Return the sum of the reported costs, ``None`` if no response reports one."""
    costs = [cost for one in responses if (cost := cost_of(one)) is not None]
    return sum(costs, Decimal()) if costs else None
