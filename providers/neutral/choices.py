"""Several choices in one whole answer: split for readers of one choice, and joined again.

A stream that is translated between two APIs has one choice. Where steps change the stream of a client's own API, each
choice has a writer of its own, whose events get the number of the choice.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from providers.neutral.bounds import AnswerTooLarge
from providers.neutral.codec import Reader
from providers.neutral.complete_choices import CompleteChoices
from providers.neutral.values import as_objects, load
from streams.events import Api, Event
from streams.surrogates import any_json, decode_or

MEMBERS: Final[Mapping[Api, str]] = {"chat": "choices", "gemini": "candidates"}
"""The member of a whole answer with its choices, by API."""

SPLIT_REFUSALS: Final[frozenset[Api]] = frozenset(("chat",))
"""The APIs whose refusals may come between deltas of the text, as a text of their own."""

MOST: Final = 8
"""The most choices of a translated answer, which is Gemini's limit."""

MOST_SPLIT: Final = 128
"""The most choices of an answer that is split, which is OpenAI's limit: each of them has a reader."""

_MOST_REPEATED: Final = 16 * 1024
"""Bytes of the other members of an answer, beyond which only the first choice of an event has them."""

_LONGEST_NAME: Final = 500  # characters of an id or a model

_HEAD: Final = ("id", "created", "model", "responseId", "createTime", "modelVersion")


def are_translated(client: Api, provider: Api, *, stream: bool) -> bool:
    """Return whether a client of one API can get several choices from a provider of another."""
    return client in MEMBERS and provider in MEMBERS and not stream


def split_other_choices(body: bytes, api: Api) -> list[bytes]:
    """Return each choice of a whole answer after the first one, as an answer of its own.

    The chunks of an array, which Gemini's answer may be, have parts of the same choices. Raises ``AnswerTooLarge`` for
    too many choices."""
    if OTHER_CHOICE.search(body) is None:
        return []
    value, member = any_json(body), MEMBERS[api]
    if isinstance(value, dict):
        return [msgspec.json.encode(one) for _, one in _other_choices(value, member)]
    found: dict[int, list[dict[str, Any]]] = {}
    for chunk in as_objects(value):
        for index, one in _other_choices(chunk, member):
            found.setdefault(index, []).append(one)
            check_number(found)
    return [msgspec.json.encode(chunks) for chunks in found.values()]


def _other_choices(value: Mapping[str, Any], member: str) -> list[tuple[int, dict[str, Any]]]:
    """Return each choice of ``value`` after the first one with its index, as an object like ``value``."""
    choices = as_objects(value.get(member))
    check_number(choices[1:])
    head = _small_head(value, member)
    others = ((one["index"], one) for one in choices if one.get("index"))
    return [(index if isinstance(index, int) else 0, {**head, member: [{**one, "index": 0}]}) for index, one in others]


def as_one_choice(body: bytes, api: Api) -> bytes:
    """Return a whole answer to a request for one choice, with all its choices as parts of the first one.

    Some Chat servers make a choice of each item of an answer: the text is in the first one, the calls are in the second
    (BerriAI/litellm#37299, zeroclaw-labs/zeroclaw#2136)."""
    if api != "chat" or OTHER_CHOICE.search(body) is None:
        return body
    value, member = load(body), MEMBERS[api]
    choices = as_objects(value.get(member)) if isinstance(value, dict) else []
    if not any(one.get("index") for one in choices):
        return body
    return msgspec.json.encode({**value, member: [{**one, "index": 0} for one in choices]})


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
    """Return an event by choice: each part has one choice, with the index 0 for its reader.

    Raises ``AnswerTooLarge`` for too many choices."""
    member = MEMBERS.get(api)
    if member is None or OTHER_CHOICE.search(data) is None:
        return {0: data}
    value: Any = decode_or(msgspec.json.decode, data, None)
    listed = value.get(member) if isinstance(value, dict) else None
    if not isinstance(listed, list) or all(not isinstance(one, dict) or not one.get("index") for one in listed):
        return {0: data}
    check_number(listed[1:])
    others = {key: one for key, one in value.items() if key != "usage"}
    head = _small_head(others, member)
    chosen: dict[int, list[Any]] = {}
    for one in listed:
        index = one.get("index") if isinstance(one, dict) else 0
        chosen[index if isinstance(index, int) else 0] = [{**one, "index": 0}] if isinstance(one, dict) else []
    if "usage" in value:
        chosen.setdefault(0, [])  # only the reader of the first choice reads it
    first = next(iter(chosen))
    return {
        index: msgspec.json.encode({**(value if index == 0 else others if index == first else head), member: one})
        for index, one in chosen.items()
    }


class ChoiceReaders(dict[int, Reader]):
    """The readers of a stream by choice, each made by ``make_reader`` when its choice begins. An incomplete choice ends
    with a failure.

    ``checks_first``: the lane does not check the first one."""

    def __init__(self, api: str, make_reader: Callable[[], Reader], *, checks_first: bool = False) -> None:
        self._api = api
        self._checks_first = checks_first
        self._make_reader = make_reader
        self._complete = CompleteChoices()

    def __missing__(self, choice: int) -> Reader:
        check_number(self)
        reader = self[choice] = self._make_reader()
        return reader

    def read_event(self, name: str, data: bytes) -> dict[int, Sequence[Event]]:
        """Return the events of one event of the provider by choice. Raises ``AnswerTooLarge`` for too many choices."""
        parts = split_choices(self._api, data)
        if len(self) > 1 and not data.startswith(b"{"):  # the mark of the end, for all choices
            parts = dict.fromkeys(self, data)
        return {choice: self._check(choice, self[choice].read_event(name, part)) for choice, part in parts.items()}

    def close(self) -> dict[int, list[Event]]:
        """Return the events at the end of the stream by choice, at least those of the first one."""
        readers = (self or {0: self[0]}).items()
        return {choice: list(self._check(choice, reader.close())) for choice, reader in readers}

    def _check(self, choice: int, events: Sequence[Event]) -> Sequence[Event]:
        return self._complete.check(choice, events) if choice or self._checks_first else events


def check_number(choices: Collection[object]) -> None:
    """Raise ``AnswerTooLarge`` if no other choice may follow ``choices``."""
    if len(choices) >= MOST_SPLIT:
        raise AnswerTooLarge("choices")


def _small_head(value: Mapping[str, Any], member: str) -> dict[str, Any]:
    """Return the members of ``value`` but ``member``: all if they are small, otherwise only those of its head."""
    head = {key: one for key, one in value.items() if key != member}
    if len(msgspec.json.encode(head)) <= _MOST_REPEATED:
        return head
    return {key: head[key] for key in _HEAD if key in head and len(str(head[key])) <= _LONGEST_NAME}
