"""An answer of embeddings in no API's words, its vectors as undecoded JSON."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.endpoints.embeddings.request import VectorType
from providers.endpoints.embeddings.vectors import as_base64, as_numbers, bad_answer, is_array, is_text
from streams.events import Usage
from streams.surrogates import NOT_JSON, reading

Vectors: TypeAlias = tuple[msgspec.Raw, ...]

MOST: Final = 10**6
"""Strings, objects and arrays in one answer, each."""

_VECTORS: Final = re.compile(rb'\s*+\[\s*+(?:(?:\[[^][{}"]*+\]|"[^"\\]*+")\s*+,?+\s*+)*+\]\s*+')
_MEMBERS: Final = reading(msgspec.json.Decoder(dict[str, msgspec.Raw]).decode)


@attrs.frozen
class Embeddings:
    """The vectors of all inputs in their order, in each of the types in which they were asked for. ``usage`` is
    ``None`` where the provider has not counted."""

    vectors: Mapping[VectorType, Vectors]
    usage: Usage | None = None
    model: str = ""
    id: str = ""

    @property
    def count(self) -> int:
        return len(next(iter(self.vectors.values()), ()))

    @property
    def size(self) -> int:
        """Bytes of its vectors."""
        return sum(len(vector) for vectors in self.vectors.values() for vector in vectors)

    def of_type(self, type: VectorType) -> Vectors:
        """The vectors as ``type``. Raises ``GatewayError`` (502) where the provider has sent others."""
        if type in self.vectors:
            if not all(is_array(vector) or is_text(vector) for vector in self.vectors[type]):
                raise bad_answer("has a vector that is none")
            return self.vectors[type]
        if type == "base64" and "float" in self.vectors:
            return tuple(map(as_base64, self.vectors["float"]))
        if type == "float" and "base64" in self.vectors:
            return tuple(map(as_numbers, self.vectors["base64"]))
        raise bad_answer(f"has no vectors of the type {type}, which was asked for")


def joined(answers: Sequence[Embeddings]) -> Embeddings:
    """The answer to a list that was asked for in several requests, in their order."""
    types = answers[0].vectors.keys()
    vectors = {type: tuple(one for answer in answers for one in answer.of_type(type)) for type in types}
    return attrs.evolve(answers[0], vectors=vectors, usage=total(answer.usage for answer in answers))


def total(usages: Iterable[Usage | None]) -> Usage | None:
    """The sum of ``usages``, ``None`` where one is not known."""
    known = list(usages)
    counted = [usage for usage in known if usage is not None]
    if len(counted) < len(known):
        return None
    costs = [usage.told_nanos for usage in counted]
    told = sum(cost for cost in costs if cost is not None) if None not in costs else None
    units: Counter[str] = Counter()
    for usage in counted:
        units.update(dict(usage.units))
    return Usage(input=sum(usage.input for usage in counted), told_nanos=told, units=tuple(units.items()))


def members(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of a JSON object in an answer. Raises ``GatewayError`` (502) for what is none."""
    try:
        return _MEMBERS(bytes(memoryview(data)))
    except NOT_JSON:
        raise bad_answer("is no JSON object of embeddings") from None


def check_size(data: bytes) -> None:
    """Raise ``GatewayError`` (502) for an answer that would unfold to more than any has: what is no number in it is
    counted, and numbers are decoded by ``elements`` and ``objects`` only inside of vectors."""
    if any(data.count(mark) > MOST for mark in (b'"', b"{", b"[")):
        raise bad_answer("has more in it than vectors")


def objects(data: msgspec.Raw | None) -> list[dict[str, msgspec.Raw]]:
    """The objects in a JSON array in an answer. Raises as ``members`` does."""
    found: list[dict[str, msgspec.Raw]] = decoded(b"null" if data is None else data, list[dict[str, msgspec.Raw]])
    return found


def elements(data: msgspec.Raw | None) -> list[msgspec.Raw]:
    """The vectors in a JSON array in an answer. Raises as ``members`` does."""
    if data is None or _VECTORS.fullmatch(data) is None:
        raise bad_answer("is no array of vectors")
    found: list[msgspec.Raw] = decoded(data, list[msgspec.Raw])
    return found


def decoded(data: bytes | msgspec.Raw, kind: Any) -> Any:
    """A value in an answer. Raises as ``members`` does."""
    try:
        return msgspec.json.decode(data, type=kind)
    except NOT_JSON:
        raise bad_answer("is no answer of embeddings") from None
