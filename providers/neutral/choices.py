"""Several choices in one whole answer: split for readers of one choice, and joined again.

Translated streams have one choice: choices arrive interleaved, and no writer handles several.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from streams.events import Api
from streams.surrogates import any_json

MEMBERS: Final[Mapping[Api, str]] = {"chat": "choices", "gemini": "candidates"}
"""The member of a whole answer with its choices, by API."""

MOST: Final = 8
"""The most choices of a translated answer, which is Gemini's limit."""


def are_translated(client: Api, provider: Api, *, stream: bool) -> bool:
    """Return whether a client of one API can get several choices from a provider of another."""
    return client in MEMBERS and provider in MEMBERS and not stream


def split_other_choices(body: bytes, api: Api) -> list[bytes]:
    """Return each choice of a whole answer after the first one, as an answer of its own."""
    value, member = any_json(body), MEMBERS[api]
    listed = value.get(member) if isinstance(value, dict) else None
    choices = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [msgspec.json.encode({**value, member: [{**one, "index": 0}]}) for one in choices if one.get("index")]


def join_choices(answers: Sequence[bytes], api: Api) -> bytes:
    """Join whole answers of one choice each; other members come from the first one."""
    member = MEMBERS[api]
    values: list[dict[str, Any]] = [any_json(one) for one in answers]
    choices = [{**choice, "index": at} for at, value in enumerate(values) for choice in value[member][:1]]
    return msgspec.json.encode({**values[0], member: choices})
