"""Reader and writer of OpenAI's format of embeddings and its family.

Requests between members of the family are edited in place. Each provider's member names are a row.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs
import msgspec

from providers.endpoints import media_tokens
from providers.endpoints.embeddings.answer import (
    Embeddings,
    as_base64,
    bad_answer_error,
    decode,
    decode_text,
    is_array,
    is_text,
    members,
    objects,
)
from providers.endpoints.embeddings.request import (
    EmbeddedContent,
    EmbeddedImage,
    EmbeddingInput,
    EmbeddingRequest,
    TokenIds,
    VectorType,
    Written,
    default_purpose,
    images_error,
    number_type_error,
    setting_names,
    text_input,
)
from providers.endpoints.embeddings.traits import JINA, NIM, VOYAGE, EmbeddingTraits, Purpose, Words, purpose_of
from providers.errors.rejected import VECTOR_ENCODINGS
from providers.neutral.draft import Draft, Edit
from providers.neutral.fields import Fields, join_path
from streams.errors import invalid
from streams.events import Usage

_NO_WORDS: Final[Words] = MappingProxyType({})
_QUANTIZED: Final[tuple[VectorType, ...]] = ("int8", "uint8", "binary", "ubinary")


@attrs.frozen
class MemberNames:
    """The member names of one provider.

    ``encoding`` is ``float`` or ``base64``; if ``accepts_float`` is false, ``float`` is omitted. ``dtype`` is one of
    ``dtypes``, for other numbers than floats. ``purpose`` is one of ``words``. ``image`` is the member of an input that
    is an image.
    """

    dimensions: str = "dimensions"
    encoding: str = "encoding_format"
    accepts_float: bool = True
    dtype: str | None = None
    dtypes: tuple[VectorType, ...] = ()
    purpose: str | None = None
    words: Words = _NO_WORDS
    image: str | None = None


MEMBER_NAMES: Final[Mapping[str, MemberNames]] = MappingProxyType(
    {
        "openai": MemberNames(),
        "mistral": MemberNames(dimensions="output_dimension", dtype="output_dtype", dtypes=_QUANTIZED),
        "voyage": MemberNames(
            dimensions="output_dimension", accepts_float=False, dtype="output_dtype", dtypes=_QUANTIZED,
            purpose="input_type", words=VOYAGE,
        ),
        "jina": MemberNames(
            encoding="embedding_type", dtype="embedding_type", dtypes=("binary", "ubinary"), purpose="task", words=JINA,
            image="image",
        ),
        "nim": MemberNames(purpose="input_type", words=NIM),
    }
)  # fmt: skip
"""Member names by format.

Voyage's ``encoding_format`` only accepts ``base64`` and null (docs.voyageai.com, text embeddings); NIM's retrieval
models require ``input_type`` (docs.nvidia.com, NeMo Retriever embedding API).
"""

DIMENSIONS: Final = tuple(dict.fromkeys(row.dimensions for row in MEMBER_NAMES.values()))
ENCODINGS: Final = VECTOR_ENCODINGS
PURPOSES: Final = ("input_type", "task", "task_type")
DTYPE: Final = "output_dtype"


_TYPES: Final[frozenset[VectorType]] = frozenset(("float", "base64", "int8", "uint8", "binary", "ubinary"))


# A client's request


def read_request(body: Mapping[str, Any]) -> EmbeddingRequest:
    """Return a client's request, with member names of any provider in the family. Raises ``GatewayError`` (400)."""
    fields = Fields(body)
    fields.ignore("model")
    dimensions_at, dimensions = _first_present(fields, DIMENSIONS, int)
    encoding_at, encoding = _first_present(fields, ENCODINGS, str)
    dtype = fields.string(DTYPE)
    purpose_at, purpose = _read_purpose(fields)
    types_at, type = (DTYPE, dtype) if dtype not in (None, "float") else (encoding_at, encoding)
    if type is not None and type not in _TYPES:
        raise invalid(f"{types_at} must be one of {', '.join(sorted(_TYPES))}", types_at)
    inputs = read_inputs(fields.value("input"), "input")
    return EmbeddingRequest(
        inputs,
        ("float",) if type is None else (type,),
        dimensions,
        purpose,
        places=setting_names(
            dimensions=(dimensions_at, dimensions), types=(types_at, type), purpose=(purpose_at, purpose),
        ),
        dropped=tuple(fields.unread()),
    )  # fmt: skip


def _first_present(fields: Fields, names: Sequence[str], kind: type[Any]) -> tuple[str, Any]:
    for name in names:
        if fields.value(name) is not None:
            return name, fields.need(name, kind)
    return names[0], None


def _read_purpose(fields: Fields) -> tuple[str, Purpose | None]:
    """Return the purpose and its member. An unknown word stays unread."""
    for name in PURPOSES:
        word = fields.data.get(name)
        if isinstance(word, str) and (purpose := purpose_of(word)) is not None:
            fields.ignore(name)
            return name, purpose
    return PURPOSES[0], None


def read_inputs(value: Any, at: str) -> tuple[EmbeddingInput, ...]:
    """Return the inputs of a request: a text, texts, token ids, or objects with a text or an image.

    Raises ``GatewayError`` (400).
    """
    if isinstance(value, str):
        return (text_input(value),)
    if not isinstance(value, list):
        raise invalid(f"{at} must be a string or an array" if value is not None else f"{at} is required", at)
    if value and all(type(one) is int for one in value):
        return (_token_ids(value),)
    return tuple(_read_input(one, join_path(at, index)) for index, one in enumerate(value))


def _read_input(value: Any, at: str) -> EmbeddingInput:
    match value:
        case str():
            return text_input(value)
        case [*ids] if all(type(one) is int for one in ids):
            return _token_ids(ids)
        case {"text": str(text)}:
            return text_input(text)
        case {"image": str(image)} | {"url": str(image)}:
            return EmbeddedContent((EmbeddedImage(image),))
    raise invalid(f"{at} must be a string, an array of token ids, or an object with text or image", at)


def _token_ids(ids: list[int]) -> TokenIds:
    return TokenIds(msgspec.Raw(msgspec.json.encode(ids)))


# A provider's request


def edit_request(draft: Draft, model: str, to: MemberNames, traits: EmbeddingTraits) -> None:
    """Edit a client's request for another provider in the family. Unknown members stay unchanged."""
    if draft.value("model") != model:
        draft.put("model", model)
    _rename_member(draft, DIMENSIONS, to.dimensions)
    if traits.dimensions is not None and draft.value(to.dimensions) is None:
        _add_member(draft, to.dimensions, traits.dimensions)
    _edit_types(draft, to, traits)
    _edit_purpose(draft, to, traits)


def _rename_member(draft: Draft, names: Sequence[str], name: str) -> None:
    for other in names:
        if other != name and other in draft:
            draft.rename(other, name)


def _add_member(draft: Draft, name: str, value: Any) -> None:
    draft.put(name, value)
    draft.note(Edit(name, lost=False, form=f"={value}"))


def _edit_types(draft: Draft, to: MemberNames, traits: EmbeddingTraits) -> None:
    for name in ENCODINGS:
        value = draft.value(name)
        if value in to.dtypes and to.dtype is not None:
            _rename_member(draft, (name,), to.dtype)
        elif (value == "base64" and not traits.base64) or (value == "float" and not to.accepts_float):
            draft.put(name, None)
        elif value in ("float", "base64"):
            _rename_member(draft, (name,), to.encoding)
    if to.dtype is not None and draft.value(DTYPE) in to.dtypes:
        _rename_member(draft, (DTYPE,), to.dtype)


def _edit_purpose(draft: Draft, to: MemberNames, traits: EmbeddingTraits) -> None:
    if traits.takes_purpose == "never":
        draft.drop(*PURPOSES)
    if to.purpose is None:
        return
    found = next((name for name in PURPOSES if draft.value(name) is not None), None)
    if found is None:
        purpose = default_purpose(to.words, traits)
        if purpose is not None:
            _add_member(draft, to.purpose, to.words[purpose])
        return
    word = draft.value(found)
    purpose = purpose_of(word) if isinstance(word, str) else None
    if found == to.purpose and (purpose is None or word in to.words.values()):
        return  # a word of this provider, or of a later version
    if purpose is None or purpose not in to.words:
        draft.drop(found)
        return
    _rename_member(draft, (found,), to.purpose)
    draft.put(to.purpose, to.words[purpose])


def write_request(request: EmbeddingRequest, model: str, to: MemberNames, traits: EmbeddingTraits) -> Written:
    """Return ``request`` of another format for a provider in the family, with the edits made.

    Raises ``GatewayError`` (400) if it lacks a feature that must not be dropped.
    """
    body: dict[str, Any] = {"model": model, "input": [_write_input(one, to) for one in request.inputs]}
    edits = list(request.losses)
    body |= request.size_member(to.dimensions, traits) | _write_types(request, to, traits)
    purpose = request.purpose or default_purpose(to.words, traits)
    if to.purpose is not None and purpose is not None and purpose in to.words:
        body[to.purpose] = to.words[purpose]
        if request.purpose is None:
            edits.append(Edit(to.purpose, lost=False, form=f"={body[to.purpose]}"))
    elif request.purpose is not None:
        edits.append(Edit(request.place("purpose")))
    if request.truncate is not None:
        edits.append(Edit(request.place("truncate"), why="translation"))
    return body, tuple(edits)


def _write_input(one: EmbeddingInput, to: MemberNames) -> Any:
    match one:
        case TokenIds(ids):
            return ids
        case EmbeddedContent() as content:
            if (text := content.text) is not None:
                return text
            match content.parts:
                case [EmbeddedImage(url)] if to.image is not None:
                    return {to.image: url}
            raise images_error()


def _write_types(request: EmbeddingRequest, to: MemberNames, traits: EmbeddingTraits) -> dict[str, Any]:
    expected = set(request.types)
    if expected <= {"float", "base64"}:
        if "base64" in expected and traits.base64:
            return {to.encoding: "base64"}
        return {}
    if len(expected) == 1 and (type := next(iter(expected))) in to.dtypes:
        assert to.dtype is not None
        return {to.dtype: type}
    raise number_type_error(request)


# A provider's answer


@attrs.frozen
class NumberedVector:
    index: int
    vector: msgspec.Raw
    members: Mapping[str, msgspec.Raw]


def read_answer(data: bytes, type: VectorType, count: int | None) -> Embeddings:
    """Return a provider's answer, with vectors in the order of their ``index``.

    There must be ``count`` vectors, if known, each index once. ``type`` is the requested type. Raises ``GatewayError``
    (502) for other answers.
    """
    answer = members(data)
    vectors = tuple(item.vector for item in _sort_by_index(_read_items(answer), count))
    kind: VectorType = type
    if vectors and type in ("float", "base64"):
        kind = "base64" if is_text(vectors[0]) else "float"
    return Embeddings(
        {kind: vectors},
        read_usage(answer.get("usage")),
        decode_text(answer.get("model")),
        decode_text(answer.get("id")),
    )


def check_answer(data: bytes, type: VectorType, count: int | None) -> tuple[bytes, Usage | None]:
    """Return a provider's answer for its client, and its usage.

    The bytes stay unchanged if correct; else the vectors are reordered, or encoded if ``type`` is base64. Raises as
    ``read_answer`` does.
    """
    answer = members(data)
    usage = read_usage(answer.get("usage"))
    received = _read_items(answer)
    items = _sort_by_index(received, count)
    encodes = type == "base64" and any(is_array(item.vector) for item in items)
    if items == received and not encodes:
        return data, usage
    written = [{**item.members, "embedding": as_base64(item.vector)} if encodes else item.members for item in items]
    return msgspec.json.encode({**answer, "data": written}), usage


def _read_items(answer: Mapping[str, msgspec.Raw]) -> list[NumberedVector]:
    return [_read_item(one, place) for place, one in enumerate(objects(answer.get("data")))]


def _read_item(found: Mapping[str, msgspec.Raw], place: int) -> NumberedVector:
    vector = found.get("embedding", found.get("embeddings"))
    if vector is None:
        raise bad_answer_error(f"has no embedding in data[{place}]")
    index = found.get("index")
    return NumberedVector(place if index is None else decode(index, int), vector, found)


def _sort_by_index(items: Sequence[NumberedVector], count: int | None) -> list[NumberedVector]:
    expected = len(items) if count is None else count
    if len(items) != expected:
        raise bad_answer_error(f"has {len(items)} vectors for {expected} inputs")
    found = sorted(items, key=lambda item: item.index)
    if [item.index for item in found] != list(range(expected)):
        raise bad_answer_error("does not number its vectors from 0, each once")
    return found


def read_usage(raw: msgspec.Raw | None) -> Usage | None:
    """Return the reported tokens, or ``None``."""
    found = None if raw is None else media_tokens.read_usage(decode(raw, Any))
    # Embeddings have no output tokens, even if the total exceeds the prompt.
    if found is None:
        return None
    return attrs.evolve(found, input=found.input if found.prompt else found.output, output=0, estimated=False)


# An answer for a client


def write_answer(answer: Embeddings, request: EmbeddingRequest, model: str) -> bytes:
    """Return ``answer`` for a client of the family. Raises ``GatewayError`` (502)."""
    vectors = answer.of_type(request.types[0])
    tokens = 0 if answer.usage is None else answer.usage.prompt
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)
            ],
            "model": answer.model or model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )
