"""Reader and writer of Gemini's format of embeddings (``:embedContent``, ``:batchEmbedContents``)."""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.endpoints.embeddings.answer import Embeddings, bad_answer_error, check_count, decode, members, objects
from providers.endpoints.embeddings.request import (
    EmbeddedContent,
    EmbeddedImage,
    EmbeddingInput,
    EmbeddingRequest,
    TokenIds,
    Written,
    check_floats,
    setting_names,
    token_ids_error,
)
from providers.endpoints.embeddings.traits import GEMINI, EmbeddingTraits, purpose_of
from providers.neutral.draft import Draft, Edit
from providers.neutral.fields import Fields
from providers.neutral.token_usage import is_token_count, token_count
from streams.errors import invalid
from streams.events import Usage

_DATA_URL: Final = re.compile(r"data:([^;,]{1,100});base64,")


# A client's request


def read_request(body: Mapping[str, Any], *, batch: bool) -> EmbeddingRequest:
    """Return a client's request of either method.

    Settings must be the same in all requests of a batch. Raises ``GatewayError`` (400).
    """
    whole = Fields(body)
    requests = list(whole.objects("requests")) if batch else [whole]
    if batch and not requests:
        raise invalid("requests must be an array of at least one request", "requests")
    whole.ignore("model")
    read = [_BatchItem.of(fields) for fields in requests]
    for other, fields in zip(read, requests, strict=True):
        if (other.dimensions, other.purpose) != (read[0].dimensions, read[0].purpose):
            raise invalid(
                (
                    f"{fields.at} differs from the first in taskType or outputDimensionality, but the model's provider "
                    "supports only one of each per request: send separate requests"
                ), fields.at,
            )  # fmt: skip
    first = read[0]
    dropped = dict.fromkeys(path for fields in (whole, *requests) for path in fields.unread())
    return EmbeddingRequest(
        tuple(one.content for one in read),
        ("float",),
        first.dimensions,
        purpose_of(first.purpose or ""),
        places=setting_names(
            dimensions=("outputDimensionality", first.dimensions),
            purpose=("taskType", first.purpose),
            title=("requests[].title" if batch else "title", next((one.content.title for one in read), None)),
        ),
        dropped=tuple(dropped),
    )


@attrs.frozen
class _BatchItem:
    """One request of a batch."""

    content: EmbeddedContent
    dimensions: int | None
    purpose: str | None

    @classmethod
    def of(cls, fields: Fields) -> "_BatchItem":
        fields.ignore("model")
        content = Fields.of(fields.value("content"), fields.path("content"))
        parts = tuple(_part(part) for part in content.objects("parts"))
        title = fields.string("title")
        word = fields.string("taskType")
        if word is not None and word != "TASK_TYPE_UNSPECIFIED" and purpose_of(word) is None:
            raise invalid(f"{fields.path('taskType')} must be one of {', '.join(GEMINI.values())}", "taskType")
        return cls(EmbeddedContent(parts, title), fields.integer("outputDimensionality"), word)


def _part(part: Fields) -> str | EmbeddedImage:
    if (text := part.string("text")) is not None:
        return text
    if (inline := part.object("inlineData")) is not None:
        return EmbeddedImage(f"data:{inline.need('mimeType', str)};base64,{inline.need('data', str)}")
    raise invalid(f"{part.at} must have text or inlineData", part.at)


# A provider's request


def write_request(request: EmbeddingRequest, model: str, traits: EmbeddingTraits) -> Written:
    """Return ``request`` as a batch, with the edits made.

    Each input is a separate request, because several parts of one content make one vector (vectorize-io/hindsight#4001,
    getzep/graphiti#1848). Raises ``GatewayError`` (400).
    """
    check_floats(request)
    edits = [Edit(path, why="translation") for path in request.dropped]
    settings: dict[str, Any] = request.purpose_member("taskType", GEMINI, edits)
    settings |= request.size_member("outputDimensionality", traits)
    if request.truncate is not None:
        edits.append(Edit(request.place("truncate"), why="translation"))
    requests = [{"model": f"models/{model}", **_write_input(one), **settings} for one in request.inputs]
    return {"requests": requests}, tuple(edits)


def _write_input(one: EmbeddingInput) -> dict[str, Any]:
    if isinstance(one, TokenIds):
        raise token_ids_error()
    body: dict[str, Any] = {"content": {"parts": [_write_part(part) for part in one.parts]}}
    return body if one.title is None else {**body, "title": one.title}


def _write_part(part: str | EmbeddedImage) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    if (found := _DATA_URL.match(part.url)) is None:
        return {"fileData": {"fileUri": part.url}}
    return {"inlineData": {"mimeType": found[1], "data": part.url[found.end() :]}}


def set_model(draft: Draft, model: str) -> None:
    """Set ``model`` in a client's own request, in place of any other model."""
    name = f"models/{model}"
    if draft.value("model") not in (None, name):
        draft.put("model", name)
    raw = msgspec.Raw(msgspec.json.encode(name))
    changed = {index: {**one, "model": raw} for index, one in draft.items("requests") if one.get("model") != raw}
    if changed:
        draft.put_items("requests", changed)


# A provider's answer


def read_answer(data: bytes, count: int | None) -> Embeddings:
    """Return a provider's answer of either method. Raises ``GatewayError`` (502)."""
    answer = members(data)
    found = [members(answer["embedding"])] if "embedding" in answer else objects(answer.get("embeddings"))
    check_count(found, count)
    vectors = tuple(one.get("values") for one in found)
    if None in vectors:
        raise bad_answer_error("has an embedding without values")
    kept = tuple(vector for vector in vectors if vector is not None)
    return Embeddings({"float": kept}, read_usage(answer.get("usageMetadata")))


def read_usage(raw: msgspec.Raw | None) -> Usage | None:
    """Return the reported tokens, or ``None``."""
    usage = None if raw is None else decode(raw, Any)
    tokens = usage.get("promptTokenCount", usage.get("totalTokenCount")) if isinstance(usage, dict) else None
    return Usage(input=token_count(tokens)) if is_token_count(tokens) else None


# An answer for a client


def write_answer(answer: Embeddings, *, batch: bool) -> bytes:
    """Return ``answer`` for a client of either method. Raises ``GatewayError`` (502)."""
    values = [{"values": vector} for vector in answer.of_type("float")]
    body: dict[str, Any] = {"embeddings": values} if batch else {"embedding": values[0] if values else {"values": []}}
    if answer.usage is not None:
        tokens = answer.usage.prompt
        body["usageMetadata"] = {"promptTokenCount": tokens, "totalTokenCount": tokens}
    return msgspec.json.encode(body)
