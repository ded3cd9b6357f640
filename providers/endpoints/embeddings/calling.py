"""Conversion of a client's request for embeddings into requests to one provider, and of their answers back."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias, TypeVar

import attrs
import msgspec

from providers.endpoints.embeddings import gemini, openai, shapes
from providers.endpoints.embeddings.answer import Embeddings, check_size, is_text, join_answers
from providers.endpoints.embeddings.openai import DTYPE, ENCODINGS
from providers.endpoints.embeddings.request import (
    EmbeddedContent,
    EmbeddedImage,
    EmbeddingInput,
    EmbeddingRequest,
    TokenIds,
    VectorType,
    unknown_vocabulary_error,
)
from providers.endpoints.embeddings.shapes import FAMILY, ClientShape, Family, family_of, names_of
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.draft import Draft, Edit
from providers.neutral.fields import parse_json
from providers.neutral.tokens import BYTES_PER_TOKEN, IMAGE
from streams.errors import GatewayError, invalid
from streams.events import Usage

T = TypeVar("T")

Span: TypeAlias = tuple[int, int]
"""The indices of a piece's first input and of the input after its last."""

MAX_PIECES: Final = 2048
"""The most requests that one client's request becomes: as many as OpenAI's API accepts inputs
(https://platform.openai.com/docs/api-reference/embeddings/create)."""

MAX_BYTES: Final = 128 * 2**20
"""The most bytes of all these requests; each of them repeats the members besides the inputs."""

USUAL_BYTES: Final = 4.0
"""Bytes per token of English prose, for estimated bills. ``BYTES_PER_TOKEN`` estimates high, for limits."""

_QUOTE: Final = b'"'
_BRACKET: Final = b"["


def split_points(sizes: Sequence[float], traits: EmbeddingTraits) -> tuple[Span, ...]:
    """Return the pieces of a list with inputs of ``sizes`` in tokens: one if it fits or must not be split.

    Raises ``GatewayError`` (400) for more than ``MAX_PIECES``.
    """
    if not traits.splits or (traits.inputs is None and traits.tokens is None):
        return ((0, len(sizes)),)
    most, room = traits.inputs or len(sizes), float("inf") if traits.tokens is None else traits.tokens
    found: list[Span] = []
    start, used = 0, 0.0
    for place, size in enumerate(sizes):
        if place > start and (place - start >= most or used + size > room):
            found.append((start, place))
            start, used = place, 0.0
        used += size
        if len(found) >= MAX_PIECES:
            raise invalid(
                f"the inputs need more than {MAX_PIECES} requests to the model's provider: send fewer at once"
            )
    return (*found, (start, len(sizes)))


def split(items: Sequence[T], pieces: Iterable[Span]) -> list[Sequence[T]]:
    return [items[start:end] for start, end in pieces]


def estimate_tokens(one: EmbeddingInput, per_token: float = BYTES_PER_TOKEN) -> float:
    """Return the estimated tokens of an input; an image counts the same whatever its bytes (BerriAI/litellm#30046)."""
    match one:
        case TokenIds(ids):
            return estimate_raw_tokens(ids)
        case EmbeddedContent(parts):
            return sum(IMAGE if isinstance(part, EmbeddedImage) else len(part.encode()) / per_token for part in parts)


def estimate_raw_tokens(value: msgspec.Raw, per_token: float = BYTES_PER_TOKEN) -> float:
    """Return the estimated tokens of an undecoded input: a text, token ids, or an object, which counts as an image if
    long."""
    first, size = bytes(memoryview(value)[:1]), len(value)
    if first == _QUOTE:
        return size / per_token
    if first == _BRACKET:
        return bytes(value).count(b",") + 1
    return min(size / per_token, IMAGE)


_UNSPLITTABLE: Final = ("late_chunking",)
"""Members that join the inputs of a list into one text; splitting it would change the vectors."""


@attrs.frozen
class AnswerPlan:
    """The conversion of a provider's answers into one client's answer.

    ``counts`` are the expected vectors of each answer, if known; ``tokens`` is the estimated usage if none is reported.
    ``passes`` means that there is one answer, in the client's own format, which is forwarded unchanged if correct.
    """

    client: ClientShape
    shape: str
    model: str
    request: EmbeddingRequest
    counts: tuple[int | None, ...]
    passes: bool
    tokens: int = 1

    @property
    def family(self) -> Family:
        return family_of(self.shape)

    @property
    def estimate(self) -> Usage:
        return Usage(input=self.tokens, estimated=True)

    def checked_answer(self, data: bytes) -> tuple[bytes, Usage | None]:
        """Return the answer to forward, if it ``passes``, and its usage.

        Raises ``GatewayError`` (502) for an incomplete or incorrect answer.
        """
        check_size(data)
        if self.family == "openai":
            return openai.check_answer(data, self.request.types[0], self.counts[0])
        return data, shapes.read_answer(self.shape, data, self.request, self.counts[0]).usage

    def read(self, place: int, data: bytes) -> Embeddings:
        """Return the answer to the request at ``place``, with only the vectors that the client wants.

        Raises as ``checked_answer`` does.
        """
        check_size(data)
        found = shapes.read_answer(self.shape, data, self.request, self.counts[place])
        return attrs.evolve(found, vectors={type: found.of_type(type) for type in self.request.types})

    def write(self, answers: Sequence[Embeddings]) -> tuple[bytes, Usage | None]:
        """Join all answers of the provider into the client's answer, and return it with its usage."""
        whole = join_answers(answers)
        counted = attrs.evolve(whole, usage=whole.usage or self.estimate)  # Cohere's client always sums these
        return shapes.write_answer(self.client, counted, self.request, self.model), whole.usage


@attrs.frozen
class EmbeddingCall:
    """The bodies of the requests to a provider, in the order of the client's inputs, with the edits made."""

    bodies: tuple[bytes, ...]
    edits: tuple[Edit, ...]
    answer: AnswerPlan


def call(client: ClientShape, draft: Draft, model: str, shape: str, traits: EmbeddingTraits) -> EmbeddingCall:
    """Return ``draft``, a client's request, converted for a provider's ``model``.

    Within one family it keeps its bytes except for renamed members; else it is translated. Raises ``GatewayError``
    (400) if the provider cannot express it.
    """
    if shapes.is_own_shape(client, shape):
        return _keep_shape(client, draft, model, shape, traits)
    return _translate(client, draft, model, shape, traits)


# Another family


def _translate(client: ClientShape, draft: Draft, model: str, shape: str, traits: EmbeddingTraits) -> EmbeddingCall:
    request = shapes.read_request(client, draft.values())
    if family_of(shape) == "tei":
        check_token_ids(draft, model, traits)
    sizes = [estimate_tokens(one) for one in request.inputs]
    pieces = split_points(sizes, traits)
    bodies = _Bodies()
    edits: tuple[Edit, ...] = ()
    for inputs in split(request.inputs, pieces):
        part = attrs.evolve(request, inputs=tuple(inputs))
        body, edits = shapes.write_request(shape, part, model, traits)
        bodies.add(msgspec.json.encode(body))
    counts = tuple(end - start for start, end in pieces)
    plan = AnswerPlan(
        client,
        shape,
        model,
        request,
        counts,
        passes=False,
        tokens=_sum_tokens(estimate_tokens(one, USUAL_BYTES) for one in request.inputs),
    )
    return EmbeddingCall(tuple(bodies.all), (*draft.edits, *edits), plan)


# The same family


def _keep_shape(client: ClientShape, draft: Draft, model: str, shape: str, traits: EmbeddingTraits) -> EmbeddingCall:
    member, items = _find_list(client, draft)
    if client == "openai":
        check_token_ids(draft, model, traits)
    types = _requested_types(draft) if client == "openai" else ("float",)
    tokens = _sum_tokens(_input_sizes(draft, items))
    pieces = _split_inputs(draft, items, traits)
    request = EmbeddingRequest((), types)
    if len(pieces) > 1:
        request = shapes.read_request(client, draft.values())
    match FAMILY[client]:
        case "openai":
            openai.edit_request(draft, model, names_of(shape), traits)
        case "gemini":
            gemini.set_model(draft, model)
        case "cohere":
            if draft.value("model") != model:
                draft.put("model", model)
        case _:
            raise AssertionError("no client asks so")
    bodies = _Bodies()
    if len(pieces) == 1:
        counts: tuple[int | None, ...] = (_expected_count(client, draft, items),)
        bodies.add(draft.encode())
    else:
        counts = tuple(end - start for start, end in pieces)
        for part in split(_find_list(client, draft)[1] or [], pieces):
            draft.put(member, part)
            bodies.add(draft.encode())
    plan = AnswerPlan(client, shape, model, request, counts, len(pieces) == 1, tokens)
    return EmbeddingCall(tuple(bodies.all), draft.edits, plan)


class _Bodies:
    """The encoded bodies of several requests, which together have at most ``MAX_BYTES``."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self._size = 0

    def add(self, body: bytes) -> None:
        """Add a body. Raises ``GatewayError`` (413) if they are too large."""
        self._size += len(body)
        if self.all and self._size > MAX_BYTES:
            message = f"the model's provider would receive more than {MAX_BYTES} bytes in several requests"
            raise GatewayError("too_large", f"{message}: send fewer inputs at once")
        self.all.append(body)


_LISTS: Final[dict[Family, tuple[str, ...]]] = {
    "openai": ("input",), "cohere": ("texts", "images", "inputs"), "gemini": ("requests",), "tei": (), "amazon": (),
    "cohere_invoke": (), "vertex": (),
}  # fmt: skip


def _find_list(client: ClientShape, draft: Draft) -> tuple[str, list[msgspec.Raw] | None]:
    """Return the member with the inputs, and the inputs if they are a list."""
    for name in _LISTS[FAMILY[client]]:
        raw = draft.raw(name)
        if raw is not None and bytes(memoryview(raw)[:1]) == b"[":
            return name, parse_json(raw, list[msgspec.Raw])
    return "", None


def _split_inputs(draft: Draft, items: list[msgspec.Raw] | None, traits: EmbeddingTraits) -> tuple[Span, ...]:
    if not items or _is_id(items[0]) or any(draft.value(name) for name in _UNSPLITTABLE):
        return ((0, 1),)
    return split_points([estimate_raw_tokens(item) for item in items], traits)


def _sum_tokens(sizes: Iterable[float]) -> int:
    return max(1, round(sum(sizes)))


def _input_sizes(draft: Draft, items: list[msgspec.Raw] | None) -> list[float]:
    """Return the sizes of all inputs in tokens, including token ids."""
    if items is None:
        return [
            estimate_raw_tokens(raw, USUAL_BYTES)
            for name in ("input", "messages", "content")
            if (raw := draft.raw(name)) is not None
        ]
    return [len(items)] if items and _is_id(items[0]) else [estimate_raw_tokens(item, USUAL_BYTES) for item in items]


def _expected_count(client: ClientShape, draft: Draft, items: list[msgspec.Raw] | None) -> int | None:
    """Return the expected number of vectors, or ``None`` if unknown."""
    if client == "gemini_one":
        return 1
    if items is None:
        raw = draft.raw("input")
        return 1 if raw is not None and is_text(raw) else None
    return 1 if items and _is_id(items[0]) else len(items)


def check_token_ids(draft: Draft, model: str, traits: EmbeddingTraits) -> None:
    """Raise ``GatewayError`` (400) if a request in OpenAI's format has token ids that ``model`` may not understand."""
    _, items = ("", None) if traits.token_arrays else _find_list("openai", draft)
    if any(_is_id(item) or bytes(memoryview(item)[:1]) == b"[" for item in items or ()):
        raise unknown_vocabulary_error(model)


def _is_id(item: msgspec.Raw) -> bool:
    """Return whether a list element is a single token id, which makes the whole list one input."""
    return bytes(memoryview(item)[:1]).isdigit()


def _requested_types(draft: Draft) -> tuple[VectorType, ...]:
    value_type = next(
        (value for name in (DTYPE, *ENCODINGS) if (value := draft.value(name)) not in (None, "float")), None
    )
    return (value_type,) if value_type in ("base64", "int8", "uint8", "binary", "ubinary") else ("float",)
