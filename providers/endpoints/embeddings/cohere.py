"""Reader and writer of Cohere's format of embeddings (``/v2/embed``, and ``/v1/embed`` for clients)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers.endpoints.embeddings.answer import (
    Embeddings,
    Vectors,
    bad_answer_error,
    decode,
    decode_text,
    elements,
    is_array,
    members,
)
from providers.endpoints.embeddings.request import (
    EmbeddedContent,
    EmbeddedImage,
    EmbeddingInput,
    EmbeddingRequest,
    VectorType,
    Written,
    setting_names,
    text_input,
    token_ids_error,
)
from providers.endpoints.embeddings.traits import COHERE, EmbeddingTraits, purpose_of
from providers.neutral.codec import new_id
from providers.neutral.draft import Edit
from providers.neutral.fields import Fields, expect, join_path
from providers.neutral.token_usage import is_token_count, token_count
from streams.errors import invalid
from streams.events import Usage

TYPES: Final[tuple[VectorType, ...]] = ("float", "int8", "uint8", "binary", "ubinary", "base64")


# A client's request


def read_request(body: Mapping[str, Any]) -> EmbeddingRequest:
    """Return a client's request. Raises ``GatewayError`` (400)."""
    fields = Fields(body)
    fields.ignore("model")
    word = fields.string("input_type")
    purpose = None if word is None else purpose_of(word)
    if word is not None and purpose is None:
        raise invalid(f"input_type must be one of {', '.join(COHERE.values())}", "input_type")
    types = fields.array("embedding_types")
    dimensions, truncate = fields.integer("output_dimension"), fields.string("truncate")
    inputs = _read_inputs(fields)
    return EmbeddingRequest(
        inputs,
        _read_types(types),
        dimensions,
        purpose,
        truncate,
        setting_names(
            dimensions=("output_dimension", dimensions), types=("embedding_types", types or None),
            purpose=("input_type", purpose), truncate=("truncate", truncate),
        ),
        tuple(fields.unread()),
    )  # fmt: skip


def _read_types(types: list[Any] | None) -> tuple[VectorType, ...]:
    for index, type in enumerate(types or ()):
        if type not in TYPES:
            at = join_path("embedding_types", index)
            raise invalid(f"{at} must be one of {', '.join(TYPES)}", at)
    return tuple(dict.fromkeys(types)) if types else ("float",)


def _read_inputs(fields: Fields) -> tuple[EmbeddingInput, ...]:
    texts, images = fields.array("texts"), fields.array("images")
    found = [text_input(expect(text, str, join_path("texts", index))) for index, text in enumerate(texts or ())]
    for index, image in enumerate(images or ()):
        found.append(EmbeddedContent((EmbeddedImage(expect(image, str, join_path("images", index))),)))
    found.extend(
        EmbeddedContent(tuple(_read_part(part) for part in one.objects("content"))) for one in fields.objects("inputs")
    )
    if not found and texts is None and images is None and fields.data.get("inputs") is None:
        raise invalid("texts, images or inputs is required", "texts")
    return tuple(found)


def _read_part(part: Fields) -> str | EmbeddedImage:
    match part.string("type"):
        case "text":
            return part.need("text", str)
        case "image_url":
            return EmbeddedImage(Fields.of(part.value("image_url"), part.path("image_url")).need("url", str))
    at = part.path("type")
    raise invalid(f"{at} must be text or image_url", at)


# A provider's request


def write_request(request: EmbeddingRequest, model: str, traits: EmbeddingTraits) -> Written:
    """Return ``request`` for a provider, with the edits made. Raises ``GatewayError`` (400)."""
    edits = list(request.losses)
    body: dict[str, Any] = {"model": model, **_write_inputs(request)}
    purpose = request.purpose or traits.purpose
    if request.purpose is not None and request.purpose not in COHERE:
        edits.append(Edit(request.place("purpose")))
        purpose = traits.purpose
    body["input_type"] = COHERE[purpose if purpose in COHERE else "document"]
    if request.purpose != purpose:
        edits.append(Edit("input_type", lost=False, form=f"={body['input_type']}"))
    types = (type if type != "base64" or traits.base64 else "float" for type in request.types)
    body["embedding_types"] = list(dict.fromkeys(types))
    body |= request.size_member("output_dimension", traits)
    if request.truncate is not None:
        body["truncate"] = request.truncate
    return body, tuple(edits)


def _write_inputs(request: EmbeddingRequest) -> dict[str, Any]:
    contents = [one for one in request.inputs if isinstance(one, EmbeddedContent)]
    if len(contents) < len(request.inputs):
        raise token_ids_error()
    texts = [content.text for content in contents]
    if None not in texts:
        return {"texts": texts}
    if all(content.text is None and len(content.parts) == 1 for content in contents):
        return {"images": [part.url for content in contents for part in content.parts if not isinstance(part, str)]}
    return {"inputs": [{"content": [_write_part(part) for part in content.parts]} for content in contents]}


def _write_part(part: str | EmbeddedImage) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": part.url}}


# A provider's answer


def read_answer(data: bytes, count: int | None) -> Embeddings:
    """Return a provider's answer of either version, with ``count`` vectors of each type. Raises
    ``GatewayError`` (502)."""
    answer = members(data)
    raw = answer.get("embeddings", msgspec.Raw(b"null"))
    by_type = {"float": raw} if is_array(raw) else members(raw)
    vectors: dict[VectorType, Vectors] = {}
    for type in TYPES:
        if type in by_type and is_array(by_type[type]):
            vectors[type] = tuple(elements(by_type[type]))
    found = {len(some) for some in vectors.values()}
    if not found or (count is not None and found != {count}):
        raise bad_answer_error(f"has {max(found, default=0)} vectors for {'its' if count is None else count} inputs")
    return Embeddings(vectors, read_usage(answer.get("meta")), id=decode_text(answer.get("id")))


def read_usage(raw: msgspec.Raw | None) -> Usage | None:
    """Return the tokens and images billed in ``meta.billed_units``, or ``None``."""
    meta = None if raw is None else decode(raw, Any)
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    if not isinstance(billed, dict):
        return None
    tokens = [
        token_count(billed[name]) for name in ("input_tokens", "image_tokens") if is_token_count(billed.get(name))
    ]
    images = token_count(billed.get("images"))
    units = (("image", images),) if images else ()
    return Usage(input=sum(tokens), units=units) if tokens or units else None


# An answer for a client


def write_answer(answer: Embeddings, request: EmbeddingRequest, version: str, *, by_type: bool) -> bytes:
    """Return ``answer`` for a client of ``version`` (``1`` or ``2``). Raises ``GatewayError`` (502)."""
    vectors: Any = {type: answer.of_type(type) for type in request.types} if by_type else answer.of_type("float")
    meta: dict[str, Any] = {"api_version": {"version": version}}
    if answer.usage is not None:
        meta["billed_units"] = {"input_tokens": answer.usage.prompt}
    texts = [one.text for one in request.inputs if isinstance(one, EmbeddedContent) and one.text is not None]
    body = {"id": answer.id or new_id("emb_"), "texts": texts, "embeddings": vectors, "meta": meta}
    return msgspec.json.encode({**body, "response_type": "embeddings_by_type" if by_type else "embeddings_floats"})
