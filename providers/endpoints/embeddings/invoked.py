"""Writer of requests and reader of answers of embeddings in Amazon Bedrock's InvokeModel and Vertex AI's ``predict``.

The path has the model, and each maker has its own body:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from providers.endpoints.embeddings import cohere
from providers.endpoints.embeddings.answer import (
    Embeddings,
    bad_answer_error,
    check_count,
    decode,
    is_array,
    members,
    objects,
)
from providers.endpoints.embeddings.request import (
    EmbeddingInput,
    EmbeddingRequest,
    TokenIds,
    Written,
    check_floats,
    required_text,
)
from providers.endpoints.embeddings.traits import GEMINI, EmbeddingTraits
from providers.neutral.draft import Edit
from providers.neutral.token_usage import MOST_TOKENS, is_token_count, token_count
from streams.errors import GatewayError
from streams.events import Usage

_TOKENS_HEADER: Final = "x-amzn-bedrock-input-token-count"


def reported_tokens(headers: Iterable[tuple[str, str]]) -> int | None:
    """Return the input tokens that Bedrock reports in a header, with lower-case names, or ``None``."""
    value = next((value for name, value in headers if name == _TOKENS_HEADER), "")
    return min(int(value), MOST_TOKENS) if value.isascii() and value.isdecimal() and len(value) < 20 else None


def _count_tokens(raw: msgspec.Raw | None) -> int | None:
    value = None if raw is None else decode(raw, Any)
    return token_count(value) if is_token_count(value) else None


# Titan at Bedrock: one text in each request


def write_titan(request: EmbeddingRequest, model: str, traits: EmbeddingTraits) -> Written:
    """Return ``request``, which has one input, with the edits made. Raises ``GatewayError`` (400)."""
    check_floats(request)
    edits = list(request.losses)
    body = {"inputText": required_text(request.inputs[0]), **request.size_member("dimensions", traits)}
    if request.purpose is not None:
        edits.append(Edit(request.place("purpose")))
    if request.truncate is not None:
        edits.append(Edit(request.place("truncate")))
    return body, tuple(edits)


def read_titan(data: bytes, count: int | None) -> Embeddings:
    """Return the answer with one vector. Raises ``GatewayError`` (502)."""
    answer = members(data)
    vector = answer.get("embedding")
    if vector is None or not is_array(vector) or count not in (None, 1):
        raise bad_answer_error(f"has {0 if vector is None else 1} vectors for {count} inputs")
    tokens = _count_tokens(answer.get("inputTextTokenCount"))
    return Embeddings({"float": (vector,)}, None if tokens is None else Usage(input=tokens))


# Cohere at Bedrock: its own body without the model


def write_cohere(request: EmbeddingRequest, model: str, traits: EmbeddingTraits) -> Written:
    """Return ``request`` with the edits made. Raises ``GatewayError`` (400)."""
    body, edits = cohere.write_request(request, model, traits)
    return {name: value for name, value in body.items() if name != "model"}, edits


# Vertex AI


def write_vertex(request: EmbeddingRequest, model: str, traits: EmbeddingTraits) -> Written:
    """Return ``request`` with the edits made. Raises ``GatewayError`` (400)."""
    check_floats(request)
    edits = [Edit(path, why="translation") for path in request.dropped]
    shared = request.purpose_member("task_type", GEMINI, edits)
    instances = [_instance(one, shared) for one in request.inputs]
    parameters: dict[str, Any] = request.size_member("outputDimensionality", traits)
    if request.truncate is not None:
        parameters["autoTruncate"] = request.truncate != "NONE"
    return {"instances": instances, **({"parameters": parameters} if parameters else {})}, tuple(edits)


def _instance(one: EmbeddingInput, shared: dict[str, str]) -> dict[str, Any]:
    title = None if isinstance(one, TokenIds) else one.title
    return {"content": required_text(one), **shared, **({} if title is None else {"title": title})}


def read_vertex(data: bytes, count: int | None) -> Embeddings:
    """Return the answer with its tokens, if each vector has them. Raises ``GatewayError`` (502)."""
    found = [members(one.get("embeddings", msgspec.Raw(b"null"))) for one in objects(members(data).get("predictions"))]
    check_count(found, count)
    vectors = tuple(one["values"] for one in found if "values" in one and is_array(one["values"]))
    if len(vectors) != len(found):
        raise bad_answer_error("has an embedding without values")
    tokens = [_vertex_tokens(one) for one in found]
    known = [number for number in tokens if number is not None]
    usage = Usage(input=min(sum(known), MOST_TOKENS)) if known and len(known) == len(tokens) else None
    return Embeddings({"float": vectors}, usage)


def _vertex_tokens(one: dict[str, msgspec.Raw]) -> int | None:
    try:
        return _count_tokens(members(one["statistics"]).get("token_count")) if "statistics" in one else None
    except GatewayError:  # the vectors are correct without it
        return None
