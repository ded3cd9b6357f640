"""Several choices in one whole answer: split for readers of one choice, and joined again.

A stream that is translated between two APIs has one choice. Where steps change the stream of a client's own API, each
choice has a writer of its own, whose events get the number of the choice.
"""

import re
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
    if OTHER_CHOICE.search(body) is None:
        return []
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


OTHER_CHOICE: Final = re.compile(rb'"index"\s*+:\s*+(?!0[,}\s])')
"""The pattern of JSON that may have another choice than the first one."""


_IDS: Final[Mapping[Api, str]] = {"chat": "id", "gemini": "responseId"}


def set_choice(api: Api, event: dict[str, Any], choice: int, id: str | None) -> str | None:
    """Make ``event``, which a writer of one choice wrote, an event of ``choice`` in the answer ``id``.

    Without ``id``, the event's own is kept. Returns the answer's id."""
    if listed := event.get(MEMBERS[api]):
        event[MEMBERS[api]] = [{**one, "index": choice} for one in listed]
    if (member := _IDS[api]) in event and id is not None:
        event[member] = id
    return id or event.get(member)


def split_choices(api: str, data: bytes) -> dict[int, bytes]:
    """Return an event by choice: each part has one choice, with the index 0 for its reader."""
    member = MEMBERS.get(api)
    if member is None or OTHER_CHOICE.search(data) is None:
        return {0: data}
    try:
        value: Any = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {0: data}
    listed = value.get(member) if isinstance(value, dict) else None
    if not isinstance(listed, list) or all(not isinstance(one, dict) or not one.get("index") for one in listed):
        return {0: data}
    others = {key: one for key, one in value.items() if key != "usage"}
    parts: dict[int, bytes] = {}
    for one in listed:
        index = one.get("index") if isinstance(one, dict) else 0
        index = index if isinstance(index, int) else 0
        of = value if index == 0 else others
        parts[index] = msgspec.json.encode({**of, member: [{**one, "index": 0}] if isinstance(one, dict) else []})
    return parts
