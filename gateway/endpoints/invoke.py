"""Bedrock's InvokeModel for clients of Claude: Messages with the model and the stream flag in the path.

Errors and streams have Amazon's forms, as clients of Converse get them. Source:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html"""

from collections.abc import Sequence
from typing import Final

import attrs
import msgspec

from gateway.access.page_guard import Cors
from gateway.endpoints.border import read_whole_body, serve
from gateway.endpoints.inference import MODEL, ModelRoute, with_cors
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.response import Response
from gateway.request.parse import NO_PARAMETERS, PathParameters, decode_members
from gateway.serving.fast_route import IncomingRequest, add_named_route
from gateway.serving.http_app import App
from providers.apis import CODECS
from providers.neutral.invoked import INVOKED
from streams.errors import invalid
from streams.events import ErrorInfo

_ROOT: Final = "/model/"
_ENDS: Final = {"/invoke": NO_PARAMETERS, "/invoke-with-response-stream": PathParameters(framing=INVOKED)}
_VERSION, _BETAS = "anthropic_version", "anthropic_beta"
_ENVELOPE: Final = frozenset((_VERSION, _BETAS, "model", "stream"))
_TEXTS: Final = msgspec.json.Decoder(list[str] | None)


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


_FORMS: Final = InvokeForms()


def add_invoke(app: App, service: Service, cors: Cors) -> None:
    """Add the paths of ``InvokeModel`` and of its stream."""
    for end, path in _ENDS.items():
        answer = _invoke(service, end, path)
        add_named_route(app, _ROOT, end, with_cors(answer, cors) if cors else answer)


def _invoke(service: Service, end: str, path: PathParameters) -> ModelRoute:
    async def answer_route(incoming: IncomingRequest, name: str | None = None) -> Response:
        async def read_and_answer(exchange: Exchange) -> Response:
            body = await read_whole_body(exchange.context, incoming)
            body, betas = await offload(len(body), lambda: _unwrap(body, name or "", path.framing is not None))
            exchange.add_betas(betas)
            return await exchange.answer(body)

        return await serve(service, "messages", incoming, _ROOT + MODEL + end, read_and_answer, path=path, forms=_FORMS)

    return answer_route


def _unwrap(body: bytes, model: str, stream: bool) -> tuple[bytes, Sequence[str]]:
    """Convert a body of InvokeModel to one of Messages. Return it with its betas. Raises ``GatewayError`` (400)."""
    members = decode_members(body)
    if _VERSION not in members:
        expected = f"{_VERSION} is required: InvokeModel serves bodies of Anthropic's Messages; for others use Converse"
        raise invalid(expected, _VERSION)
    try:
        betas = _TEXTS.decode(members.get(_BETAS, b"null")) or ()
    except msgspec.MsgspecError:
        raise invalid(f"{_BETAS} must be a list of strings", _BETAS) from None
    rest = {name: value for name, value in members.items() if name not in _ENVELOPE}
    return msgspec.json.encode({"model": model, "stream": stream, **rest}), betas
