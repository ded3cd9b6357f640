"""Ids of earlier responses in a request: the one that it continues, and the one with which a provider compares it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from streams.surrogates import decode_or

_MAX_TEXT: Final = 4096
_DIAGNOSES: Final = (("diagnostics", "previous_message_id"), ("prompt_cache_options", "comparison_response_id"))
"""Members that request a provider's diagnosis of a miss, each with its member for the id of the earlier response."""

_CONTINUED: Final = ("previous_response_id", "previous_interaction_id")

_ANY: Final = msgspec.json.Decoder()


def continued_response(members: Mapping[str, msgspec.Raw]) -> str | None:
    """Return the id of the response that the provider continues, ``None`` if the request has its whole conversation."""
    for name in _CONTINUED:
        if name in members and isinstance(id := _read(members[name]), str):
            return id
    return None


def compared_response(members: Mapping[str, msgspec.Raw]) -> str | None:
    """Return the id of the response with which the provider compares the request, ``None`` without one."""
    for name, inner in _DIAGNOSES:
        if name not in members:
            continue
        found = _read(members[name])
        if isinstance(found, dict) and isinstance(id := found.get(inner), str):
            return id
    return None


def _read(raw: msgspec.Raw) -> Any:
    if len(raw) > _MAX_TEXT:
        return None
    return decode_or(_ANY.decode, raw, None)
