"""Several choices in one whole answer, for the APIs that have them: taken apart for readers of one, and put together.

A stream has one choice where it is translated: its choices come interleaved, and no client's writer holds several.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from streams.events import Api
from streams.surrogates import any_json

MEMBERS: Final[Mapping[Api, str]] = {"chat": "choices", "gemini": "candidates"}
"""The member of a whole answer that lists its choices, by API."""

MOST: Final = 8
"""Choices that a translated answer may have: Gemini's limit."""


def are_translated(client: Api, provider: Api, *, stream: bool) -> bool:
    """Return whether a client of one API can have several choices of a provider of another."""
    return client in MEMBERS and provider in MEMBERS and not stream


def further_choices(body: bytes, api: Api) -> list[bytes]:
    """Return the choices of a whole answer after its first one, each as an answer of its own."""
    value, member = any_json(body), MEMBERS[api]
    listed = value.get(member) if isinstance(value, dict) else None
    choices = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [msgspec.json.encode({**value, member: [{**one, "index": 0}]}) for one in choices if one.get("index")]


def joined(answers: Sequence[bytes], api: Api) -> bytes:
    """Return whole answers of one choice each as one answer with all of them; the first one says the rest."""
    member = MEMBERS[api]
    values: list[dict[str, Any]] = [any_json(one) for one in answers]
    choices = [{**choice, "index": at} for at, value in enumerate(values) for choice in value[member][:1]]
    return msgspec.json.encode({**values[0], member: choices})
