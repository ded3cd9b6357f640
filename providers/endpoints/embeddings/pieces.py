"""Lists of inputs that are longer than a provider takes at once, cut into several requests."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from providers.endpoints.embeddings.request import EmbeddedContent, EmbeddedImage, EmbeddingInput, TokenIds
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.tokens import BYTES_PER_TOKEN, IMAGE

T = TypeVar("T")

Span: TypeAlias = tuple[int, int]
"""The first input of a piece, and the one behind its last."""

USUAL: Final = 4.0
"""Bytes of a token of English prose: for a bill that nobody has written. ``BYTES_PER_TOKEN`` errs high, for limits."""

_TEXT: Final = b'"'
_IDS: Final = b"["


def spans(sizes: Sequence[float], traits: EmbeddingTraits) -> tuple[Span, ...]:
    """The pieces of a list whose inputs have ``sizes`` in tokens: one where it fits, or is not to be cut."""
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
    return (*found, (start, len(sizes)))


def cut(items: Sequence[T], pieces: Iterable[Span]) -> list[Sequence[T]]:
    """``items`` in ``pieces``."""
    return [items[start:end] for start, end in pieces]


def size_of(one: EmbeddingInput, per_token: float = BYTES_PER_TOKEN) -> float:
    """Tokens of an input, about; a picture counts as one, however many bytes it has
    (BerriAI/litellm#30046)."""
    match one:
        case TokenIds(ids):
            return raw_size(ids)
        case EmbeddedContent(parts):
            return sum(IMAGE if isinstance(part, EmbeddedImage) else len(part.encode()) / per_token for part in parts)


def raw_size(value: msgspec.Raw, per_token: float = BYTES_PER_TOKEN) -> float:
    """The same of an input as it came: a text, ids of tokens, or an object, which is taken for a picture where it is
    long."""
    first, size = bytes(memoryview(value)[:1]), len(value)
    if first == _TEXT:
        return size / per_token
    if first == _IDS:
        return bytes(value).count(b",") + 1
    return min(size / per_token, IMAGE)
