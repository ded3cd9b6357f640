"""Neutral answers of embeddings, with vectors as undecoded JSON.

A vector has two forms: an array of numbers, and padded base64 of little-endian IEEE-754 singles. A vector that keeps
its form keeps its bytes.
"""

import math
import re
import sys
from array import array
from base64 import b64decode
from binascii import b2a_base64
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.endpoints.embeddings.request import VectorType
from providers.neutral.values import as_string
from streams.errors import GatewayError
from streams.events import Usage
from streams.surrogates import NOT_JSON, tolerate_lone_surrogates

_FLOATS: Final = msgspec.json.Decoder(list[float])
_STRING: Final = msgspec.json.Decoder(str)


def bad_answer_error(found: str) -> GatewayError:
    """Return the 502 for an invalid answer of embeddings; ``found`` describes the fault."""
    message = f"the provider's response {found}; the gateway does not pass on embeddings that may belong to other texts"
    return GatewayError("upstream", message, code="bad_answer", reason="bad_answer")


def is_text(vector: msgspec.Raw) -> bool:
    """Return whether ``vector`` is a JSON string, which means base64."""
    return bytes(memoryview(vector)[:1]) == b'"'


def is_array(vector: msgspec.Raw) -> bool:
    """Return whether ``vector`` is a JSON array, of numbers or of vectors."""
    return bytes(memoryview(vector)[:1]) == b"["


def as_base64(vector: msgspec.Raw) -> msgspec.Raw:
    """Return ``vector`` as a JSON string of base64. Raises ``GatewayError`` (502) if it is not a vector."""
    if is_text(vector):
        return vector
    try:
        singles = array("f", _FLOATS.decode(vector))
    except (OverflowError, *NOT_JSON):
        raise bad_answer_error("has a vector that is not an array of numbers") from None
    return msgspec.Raw(b'"%b"' % b2a_base64(_little_endian(singles).tobytes(), newline=False))


def as_numbers(vector: msgspec.Raw) -> msgspec.Raw:
    """Return ``vector`` as a JSON array of the encoded singles. Raises ``GatewayError`` (502) if it is not a vector."""
    if not is_text(vector):
        return vector
    singles = array("f")
    try:
        singles.frombytes(b64decode(_STRING.decode(vector), validate=True))
    except NOT_JSON:  # base64's error is a ValueError as well
        raise bad_answer_error("has a vector that is not base64 of 32-bit floats") from None
    numbers = _little_endian(singles).tolist()
    if not all(map(math.isfinite, numbers)):
        raise bad_answer_error("has a vector with NaN or an infinite number")
    return msgspec.Raw(msgspec.json.encode(numbers))


def _little_endian(singles: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        singles.byteswap()
    return singles


def check_count(vectors: Collection[object], count: int | None) -> None:
    """Raise ``GatewayError`` (502) unless there are ``count`` vectors, if that is known."""
    if count not in (None, len(vectors)):
        raise bad_answer_error(f"has {len(vectors)} vectors for {count} inputs")


Vectors: TypeAlias = tuple[msgspec.Raw, ...]

MAX_MARKS: Final = 10**6
"""The most strings, objects and arrays in one answer, each."""

_VECTORS: Final = re.compile(rb'\s*+\[\s*+(?:(?:\[[^][{}"]*+\]|"[^"\\]*+")\s*+,?+\s*+)*+\]\s*+')
_MEMBERS: Final = tolerate_lone_surrogates(msgspec.json.Decoder(dict[str, msgspec.Raw]).decode)


@attrs.frozen
class Embeddings:
    """The vectors of all inputs, in order, in each requested type. ``usage`` is ``None`` if the provider
    reports none."""

    vectors: Mapping[VectorType, Vectors]
    usage: Usage | None = None
    model: str = ""
    id: str = ""

    @property
    def count(self) -> int:
        return len(next(iter(self.vectors.values()), ()))

    @property
    def size(self) -> int:
        """The number of bytes of its vectors."""
        return sum(len(vector) for vectors in self.vectors.values() for vector in vectors)

    def of_type(self, type: VectorType) -> Vectors:
        """Return the vectors as ``type``. Raises ``GatewayError`` (502) if the provider has sent other types."""
        if type in self.vectors:
            if not all(is_array(vector) or is_text(vector) for vector in self.vectors[type]):
                raise bad_answer_error("has an invalid vector")
            return self.vectors[type]
        if type == "base64" and "float" in self.vectors:
            return tuple(map(as_base64, self.vectors["float"]))
        if type == "float" and "base64" in self.vectors:
            return tuple(map(as_numbers, self.vectors["base64"]))
        raise bad_answer_error(f"lacks vectors of the requested type {type}")


def join_answers(answers: Sequence[Embeddings]) -> Embeddings:
    """Return the answer to a list that was sent in several requests, in their order."""
    types = answers[0].vectors.keys()
    vectors = {type: tuple(one for answer in answers for one in answer.of_type(type)) for type in types}
    return attrs.evolve(answers[0], vectors=vectors, usage=sum_usages(answer.usage for answer in answers))


def sum_usages(usages: Iterable[Usage | None]) -> Usage | None:
    """Return the sum of ``usages``, or ``None`` if one is unknown."""
    known = list(usages)
    counted = [usage for usage in known if usage is not None]
    if len(counted) < len(known):
        return None
    costs = [usage.reported_nanos for usage in counted]
    nanos = sum(cost for cost in costs if cost is not None) if None not in costs else None
    units: Counter[str] = Counter()
    for usage in counted:
        units.update(dict(usage.units))
    return Usage(input=sum(usage.input for usage in counted), reported_nanos=nanos, units=tuple(units.items()))


def members(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object in an answer. Raises ``GatewayError`` (502) if it is not an object."""
    try:
        return _MEMBERS(bytes(memoryview(data)))
    except NOT_JSON:
        raise bad_answer_error("is not a JSON object with embeddings") from None


def check_size(data: bytes) -> None:
    """Raise ``GatewayError`` (502) for an answer with too many values besides numbers.

    Numbers are only decoded inside vectors, by ``elements`` and ``objects``.
    """
    if any(data.count(mark) > MAX_MARKS for mark in (b'"', b"{", b"[")):
        raise bad_answer_error("has more than vectors")


def objects(data: msgspec.Raw | None) -> list[dict[str, msgspec.Raw]]:
    """Return the objects in a JSON array in an answer. Raises as ``members`` does."""
    found: list[dict[str, msgspec.Raw]] = decode(b"null" if data is None else data, list[dict[str, msgspec.Raw]])
    return found


def elements(data: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Return the vectors in a JSON array in an answer. Raises as ``members`` does."""
    if data is None or _VECTORS.fullmatch(data) is None:
        raise bad_answer_error("is not an array of vectors")
    found: list[msgspec.Raw] = decode(data, list[msgspec.Raw])
    return found


def decode(data: bytes | msgspec.Raw, kind: Any) -> Any:
    """Return a value in an answer. Raises as ``members`` does."""
    try:
        return msgspec.json.decode(data, type=kind)
    except NOT_JSON:
        raise bad_answer_error("is not an embeddings response") from None


def decode_text(raw: msgspec.Raw | None) -> str:
    """Return the string in ``raw``, ``""`` for anything else."""
    return "" if raw is None else as_string(decode(raw, Any))
