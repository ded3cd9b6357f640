"""Replacements for the ids of tool calls that an API does not take."""

import hashlib
from collections.abc import Iterable

_DIGITS = 24


def replacement_id(prefix: str, id: str) -> str:
    """Return the id that stands for ``id`` wherever it is sent: the same for the call and for its result."""
    return prefix + _digest(id)


def matched(ids: Iterable[str], originals: Iterable[str]) -> dict[str, str]:
    """Return those of ``ids`` that are one of ``originals`` or its replacement, each with that original."""
    known = {id: id for id in originals}
    known.update({_digest(id): id for id in known})
    found = ((id, known.get(id) or known.get(id[-_DIGITS:])) for id in ids)
    return {id: original for id, original in found if original is not None}


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
