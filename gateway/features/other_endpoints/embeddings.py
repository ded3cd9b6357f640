"""Embeddings in the shape of OpenAI, Cohere or Gemini, from providers with any of these."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs

from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.response import JSON_HEADERS
from gateway.relay.answers import AnswerFilter
from gateway.relay.relaying import InboundRequest, RelayedRequest
from gateway.request.parse import Incoming, PathParameters
from gateway.request.prepare import credential_paths, omit_paths
from gateway.request.prepared import Prepared, RequestedOutput
from gateway.routing.plan import Plan
from gateway.routing.target import Omissions, Target
from gateway.streaming.lane import too_large
from providers.endpoints.embeddings.calling import AnswerPlan, call
from providers.endpoints.embeddings.filtering import EmbeddingAnswerConverter
from providers.endpoints.embeddings.invoked import reported_tokens
from providers.endpoints.embeddings.openai import ENCODINGS
from providers.endpoints.embeddings.shapes import FAMILY, ClientShape, is_own_shape
from providers.endpoints.endpoint import BODY_SHAPES
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft
from providers.neutral.fields import parse_json
from streams.errors import GatewayError, invalid

_BATCH_METHOD, _SINGLE_METHOD = ":batchEmbedContents", ":embedContent"


class EmbeddingFilter(EmbeddingAnswerConverter, AnswerFilter):
    """A filter that converts embeddings, and holds at most ``max_bytes`` of the responses."""

    is_json = True

    def __init__(self, plan: AnswerPlan, max_bytes: int) -> None:
        super().__init__(plan)
        self._max_bytes = max_bytes

    def head(self, status: int, headers: Headers) -> Headers:
        self.begin(reported_tokens(headers))
        return JSON_HEADERS

    def take(self, piece: bytes) -> bytes:
        out = super().take(piece)
        if self.buffered_bytes > self._max_bytes:
            raise GatewayError.of(too_large(self._max_bytes))
        return out


async def _read(client: ClientShape, inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    incoming = await inbound.read_json(PathParameters(names.get("model")))
    if FAMILY[client] == "gemini":
        await offload(incoming.size, _check_model_names, incoming)
    model = incoming.model or inbound.default_model
    plan = inbound.plan(model, [shape for shape in BODY_SHAPES if is_own_shape(client, shape)])
    incoming = await inbound.apply_edits(incoming, plan)
    if client == "gemini_one":
        plan = _with_single_text_method(plan)
    plans, limit = dict[int, AnswerPlan](), inbound.context.service.settings.limits.answer
    planned = inbound.plan_json(incoming, plan, partial(_prepare, client, incoming, plans))
    return RelayedRequest(planned, lambda target: EmbeddingFilter(plans[id(target)], limit))


def _check_model_names(incoming: Incoming) -> None:
    """Raise ``GatewayError`` (400) for a model in the body that differs from the path's."""
    draft = Draft(incoming.json)
    inside = [("model", draft.raw("model"))]
    inside.extend((f"requests[{index}].model", one.get("model")) for index, one in draft.items("requests"))
    for at, raw in inside:
        name: Any = None if raw is None else parse_json(raw, Any)
        if isinstance(name, str) and name.removeprefix("models/") != incoming.model:
            raise invalid(f"{at} differs from the model in the path: send only one of them", at)


def _with_single_text_method(plan: Plan) -> Plan:
    """Return ``plan`` with Gemini's method for a single text instead of a batch, in the byte lane."""

    def with_method(target: Target) -> Target:
        if target.lane != "byte":
            return target
        return attrs.evolve(target, url=target.url.replace(_BATCH_METHOD, _SINGLE_METHOD))

    return plan.with_each_target(with_method)


def _prepare(
    client: ClientShape, incoming: Incoming, plans: dict[int, AnswerPlan], target: Target, omissions: Omissions
) -> Prepared:
    """Return the request for ``target``, and note in ``plans`` how to read its response."""
    traits, place = target.entry.embeddings_of(target.model), target.endpoint_place
    assert place is not None, "it is planned for an endpoint"
    draft = Draft(incoming.json)
    omit_paths(draft, credential_paths(target), "provider")
    encodings = [path for path in omissions.paths if path[0] in ENCODINGS]
    if encodings:  # the provider rejects base64, so the gateway encodes
        traits = attrs.evolve(traits, base64=False)
        for name in ENCODINGS:
            if draft.value(name) == "float":
                draft.put(name, None)
    omit_paths(draft, [path for path in omissions.paths if path not in encodings], "rejected")
    made = call(client, draft, target.model, place.shape, traits)
    plans[id(target)] = made.answer
    outgoing = Outgoing(made.bodies[0], edits=made.edits)
    output = RequestedOutput(max_tokens=0, input=made.answer.tokens)
    return Prepared(outgoing, omissions=omissions, output=output, later_bodies=made.bodies[1:])


read_openai = partial(_read, "openai")
read_cohere_v1 = partial(_read, "cohere_v1")
read_cohere_v2 = partial(_read, "cohere_v2")
read_gemini_one = partial(_read, "gemini_one")
read_gemini_batch = partial(_read, "gemini_batch")
