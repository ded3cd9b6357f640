"""Bedrock's InvokeModel and Vertex AI's rawPredict for clients of Claude: Messages with the model in the path.

The path selects the stream too. Errors and streams of InvokeModel have Amazon's forms, as clients of Converse get them;
those of rawPredict have Anthropic's. Sources:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html,
https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs
import msgspec

from gateway.endpoints.border import serve
from gateway.endpoints.count_tokens import count_tokens
from gateway.endpoints.inference import ModelRoute
from gateway.endpoints.request_body import read_whole_body
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.features.compatible_clients.adapter import VERTEX_CLAUDE
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.response import Response
from gateway.ledger.record import ResponseForms
from gateway.request.members import decode_member
from gateway.request.parse import NO_PARAMETERS, PathParameters, decode_members
from gateway.seams.route import HttpRoute
from gateway.serving.incoming_request import IncomingRequest
from providers.apis import CODECS
from providers.neutral.invoked import INVOKED
from streams.errors import invalid
from streams.events import ErrorInfo

_VERSION, _BETAS = "anthropic_version", "anthropic_beta"
_ENVELOPE: Final = frozenset((_VERSION, _BETAS, "model", "stream"))
_TEXTS: Final = msgspec.json.Decoder(list[str] | None)
_COUNTED: Final = "count-tokens"
"""The name at Vertex AI of requests that count tokens; their model is in the body."""


class InvokeForms:
    """Amazon's forms of errors, and its header of a stream's content."""

    def error(self, error: ErrorInfo) -> ErrorInfo:
        codec = CODECS["converse"]
        phrased = codec.phrase_error(error)
        known = {name for name, _ in error.headers}
        added = tuple(pair for pair in codec.wire.error_headers(phrased) if pair[0] not in known)
        return attrs.evolve(error, body=codec.write_error(phrased, ""), headers=(*error.headers, *added))

    def headers(self, status: int, headers: Headers) -> Headers:
        is_stream = ("content-type", INVOKED.content_type) in headers
        return (*headers, ("x-amzn-bedrock-content-type", "application/json")) if is_stream else headers


@attrs.frozen(eq=False, repr=False)
class _Place:
    """The paths of Claude at a cloud: their start, and each end with its parameters.

    ``forms`` are those of errors and headers, ``None`` for Anthropic's. ``others`` is advice for other bodies."""

    root: str
    ends: Mapping[str, PathParameters]
    others: str
    forms: ResponseForms | None = None


_STREAMED: Final = PathParameters(stream=True)
_PLACES: Final = (
    _Place(
        "/model/",
        {"/invoke": NO_PARAMETERS, "/invoke-with-response-stream": attrs.evolve(_STREAMED, framing=INVOKED)},
        "InvokeModel serves bodies of Anthropic's Messages; for others use Converse",
        InvokeForms(),
    ),
    _Place(
        VERTEX_CLAUDE,
        {":rawPredict": NO_PARAMETERS, ":streamRawPredict": _STREAMED},
        "rawPredict serves bodies of Anthropic's Messages; for others use generateContent",
    ),
)


def hosted_claude_routes(service: Service) -> Iterator[HttpRoute]:
    """Yield the paths of both clouds, and of their streams."""
    for place in _PLACES:
        for end, path in place.ends.items():
            answer = _make_answer(service, place, end, path)
            yield HttpRoute(f"{place.root}{{model}}{end}", answer, ("POST",), for_programs=True)


def _make_answer(service: Service, place: _Place, end: str, path: PathParameters) -> ModelRoute:
    async def answer_route(incoming: IncomingRequest, model: str | None = None) -> Response:
        is_count = place.root == VERTEX_CLAUDE and model == _COUNTED

        async def read_and_answer(exchange: Exchange) -> Response:
            body = await read_whole_body(exchange.context, incoming)
            named = None if is_count else model
            body, betas = await offload(len(body), lambda: _unwrap(body, named, path.stream, place.others))
            exchange.add_betas(betas)
            return await (count_tokens(exchange, body) if is_count else exchange.answer(body))

        route = f"{place.root}{{model}}{end}"
        return await serve(service, "messages", incoming, route, read_and_answer, path=path, forms=place.forms)

    return answer_route


def _unwrap(body: bytes, model: str | None, stream: bool, others: str) -> tuple[bytes, Sequence[str]]:
    """Convert a cloud's body to one of Messages. Return it with its betas. Raises ``GatewayError`` (400).

    ``model`` replaces that of the body."""
    members = decode_members(body)
    if _VERSION not in members:
        raise invalid(f"{_VERSION} is required: {others}", _VERSION)
    betas = decode_member(members, _BETAS, _TEXTS, "a list of strings") or ()
    rest = {name: value for name, value in members.items() if name not in _ENVELOPE}
    own = members.get("model") if model is None else model
    return msgspec.json.encode({"model": own, "stream": stream, **rest}), betas
