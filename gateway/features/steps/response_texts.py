"""The strings of a provider's response that its reader does not report, so that no text reaches a client unseen.

They count where the client gets the provider's own bytes. The reader's events have all other text.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import attrs

from gateway.features.steps.json_texts import document_text, raw_text, without_surrogates
from gateway.features.steps.shapes import ANYTHING, NO_TEXT, Shape
from gateway.features.steps.tables import DETAILS_API, TextTable, answer_table_for, native_table_for
from streams.events import (
    AnswerEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from trigate.steps import Passage

KEPT_CHARACTERS: Final = 2**20
"""The most characters of a response's text that are kept to recognize repetitions of it. Beyond them, a repetition is
checked again."""

CONTEXT: Final = 4096
"""Characters of the text before, if a string continues that of an earlier event."""

MAX_SKELETONS: Final = 256
MAX_SHARED: Final = 4096
LONGEST_SHARED: Final = 4096
MAX_EXACT: Final = 16
_BACKSLASH: Final = ord("\\")

LONGEST_KNOWN: Final = 16 * 1024
"""Bytes of the longest event whose form is remembered."""

MOST_SEARCHED: Final = 2**24
"""Characters of the response's text in which strings are searched, some 20 ms of work. The others are unread."""

SEARCHED_PER_BYTE: Final = 8
"""Characters in which strings may be searched again after each byte of the response."""

MOST_CUT: Final = 64
"""Texts of an event with a form that may come again."""

_SHARED: Final[dict[str, set[bytes]]] = {}
"""By API the forms of events, of all responses, whose strings are all exempt or text. They contain no text."""

_Text: TypeAlias = TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta
TEXTS: Final = (TextDelta, RefusalDelta, ReasoningDelta, ToolCallDelta)
_NO_JSON: Final = (b"", b"[DONE]")
_VARIED: Final = re.compile(
    rb'("(?:obfuscation|p|id|item_id|response_id|system_fingerprint)":[ ]?+")[A-Za-z0-9_-]++(?=")'
)
"""Padding and ids, which differ in events of the same form."""
_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_REPEATED_ZEROS: Final = re.compile(b"00++")
_STREAMED: Final = re.compile(r"delta|partial|candidates|contentBlock")


class _MemberList(list[tuple[str, Any]]):
    """The members of an object, duplicates included."""


_decode = json.JSONDecoder(object_pairs_hook=_MemberList, strict=False).decode


@attrs.frozen(eq=False)
class FoundString:
    """A string of a response with its path and keys: a value, or the name of an unknown member."""

    path: str
    text: str
    keys: tuple[str | int, ...] = ()
    is_value: bool = True


class SearchBudget:
    """A limit on the searches for strings in a response's text, so that all of them together take linear time.

    ``left``: the characters that may still be searched."""

    def __init__(self) -> None:
        self.left = MOST_SEARCHED

    def grow(self, size: int) -> None:
        """Allow more searches after ``size`` more bytes of the response."""
        self.left = min(self.left + SEARCHED_PER_BYTE * size, MOST_SEARCHED)


class UnreadTexts:
    """The strings of one response, or of its events in order, that are in no event of its reader.

    An event with the form of an earlier one, apart from text that was reported, takes microseconds."""

    def __init__(self, api: str) -> None:
        self._table = answer_table_for(api)
        self._shared = _SHARED.setdefault(api, set())
        self._exact: set[bytes] = set()  # events without their texts
        self._forms: set[bytes] = set()  # also without digits and padding
        self._skeletons: set[bytes] = set()  # also without the lengths of numbers
        self._seen: set[str] = set()
        self._blocks: dict[int, list[str]] = {}
        self._length = 0
        self._earlier: str | None = ""  # the texts of all blocks, None if they have changed
        self._searches = SearchBudget()
        self._tails: dict[str, str] = {}

    def find(self, data: bytes, events: Sequence[Event]) -> list[Passage]:
        """Return the strings in ``data``, JSON of an event or a complete response, that ``events`` do not have.

        A string that continues one of an earlier event is shown after it."""
        texts = [event for event in events if isinstance(event, TEXTS)]
        self._keep(texts)
        rest = _without_texts(data, texts)
        form = skeleton = b""
        if rest is not None:
            if rest in self._exact:
                return []
            form = _form_of(rest)
            if form in self._forms:
                return []
            skeleton = _REPEATED_ZEROS.sub(b"0", form)
            if skeleton in self._skeletons or skeleton in self._shared:
                self._remember(rest, form)
                return []
        if data in _NO_JSON:
            return []
        unread, is_repeated = self._unread_strings(data, events)
        if rest is not None and not unread and len(rest) <= LONGEST_KNOWN:
            self._remember(rest, None if is_repeated else form)
            if not is_repeated and len(self._skeletons) < MAX_SKELETONS:
                self._skeletons.add(skeleton)
            has_others = any(reported_strings(one for one in events if not isinstance(one, TEXTS)))
            if not is_repeated and len(skeleton) <= LONGEST_SHARED and not has_others:
                if len(self._shared) >= MAX_SHARED:
                    self._shared.clear()
                self._shared.add(skeleton)
        return unread

    def has_text_alone(self, data: bytes, event: TextDelta) -> bool:
        """Return whether ``find`` would find nothing in ``data``, whose only event is ``event``, and note its text.

        Returns false, and notes nothing, if that takes the whole search of ``find``."""
        text, rest = event.text, _without_text(data, event.text)
        pieces = self._blocks.get(event.block)
        if rest is None or pieces is None or self._length > KEPT_CHARACTERS:
            return False
        if rest not in self._exact and _form_of(rest) not in self._forms:
            return False
        pieces.append(text)
        self._length += len(text)
        self._earlier = None
        return True

    def _remember(self, rest: bytes, form: bytes | None) -> None:
        """Remember an event without its texts, whose other strings need no check, and its ``form``, if given."""
        if len(self._exact) < MAX_EXACT:
            self._exact.add(rest)
        if form is not None and len(self._forms) < MAX_SKELETONS:
            self._forms.add(form)

    def _unread_strings(self, data: bytes, events: Sequence[Event]) -> tuple[list[Passage], bool]:
        """Return the unread strings, and whether others only repeat earlier ones."""
        reported = set(reported_strings(events))
        whole = "\0".join(reported)
        found: list[Passage] = []
        is_repeated = False
        self._searches.grow(len(data))
        for one in read_strings(self._table, data):
            text = one.text
            if text in reported:
                continue
            continues = one.is_value and _STREAMED.search(one.path) is not None
            if (text in self._seen and not continues) or self._is_in_text(whole, text):
                is_repeated = True
                continue
            self._seen.add(text)
            before = self._tails.get(one.path, "") if continues else ""
            if continues:
                self._tails[one.path] = (before + text)[-CONTEXT:]
            found.append(Passage("other", one.path, before + text, released_length=len(before)))
        return found, is_repeated

    def _keep(self, texts: Iterable[_Text]) -> None:
        for event in texts:
            self._earlier = None
            if (pieces := self._blocks.get(event.block)) is None:
                pieces = self._blocks[event.block] = []
            pieces.append(event.text)
            self._length += len(event.text)
        while self._length > KEPT_CHARACTERS and self._blocks:
            oldest = next(iter(self._blocks))
            self._length -= sum(map(len, self._blocks.pop(oldest)))

    def _is_in_text(self, new: str, text: str) -> bool:
        """Return whether ``text`` is in ``new`` or in a block whose text was reported before. Return false if it may
        not be searched there."""
        spellings = _spellings(text)
        if (size := len(spellings) * (len(new) + self._length)) > self._searches.left:
            return False
        self._searches.left -= size
        if self._earlier is None:
            for pieces in self._blocks.values():
                if len(pieces) > 1:
                    pieces[:] = ["".join(pieces)]
            self._earlier = "\0".join([pieces[0] for pieces in self._blocks.values()])
        return any(one in new or one in self._earlier for one in spellings)


def response_texts(api: str, data: bytes) -> list[Passage]:
    """Return all strings of a complete response of ``api`` or an endpoint, as if no reader reported any."""
    return UnreadTexts(api).find(data, ())


def read_strings(table: TextTable, data: bytes) -> Iterator[FoundString]:
    """Yield the strings of ``data`` that may be text. Data that is no JSON is one string."""
    try:
        value = _decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        yield FoundString("", document_text(raw_text(data)))  # some clients may read it as JSON
        return
    for found in _walk(value, table.shape, "", (), table):
        if found.text:
            yield found


def item_strings(api: str, item: Any) -> Iterator[FoundString]:
    """Yield the strings that may be text in ``item``, a decoded item of ``api`` in an event of a reader."""
    table = native_table_for(api)
    return (found for found in _walk(item, table.shape, "", (), table) if found.text)


def _walk(value: Any, shape: Shape, path: str, keys: tuple[str | int, ...], table: TextTable) -> Iterator[FoundString]:
    if shape.leaf.kind == "echo":
        return
    if isinstance(value, str):
        if shape.leaf.kind not in NO_TEXT:
            yield FoundString(path, without_surrogates(value), keys)
    elif isinstance(value, _MemberList | dict):
        if shape.items is not None and shape.members is None and shape.cases is None:
            shape = shape.items  # one object in place of a list
        members = list(value.items()) if isinstance(value, dict) else value
        spell = table.spell or str
        while (cases := shape.cases) is not None:
            words = ("true" if inner is True else inner for name, inner in members if spell(name) == cases.by)
            shape = cases.shape_of({word for word in words if isinstance(word, str)})
        known = shape.members or {}
        for name, inner in members:
            spelled = spell(name)
            at = f"{path}.{name}" if path else name
            if spelled not in known:
                yield FoundString(at, without_surrogates(name), keys, is_value=False)
            yield from _walk(inner, known.get(spelled, ANYTHING), at, (*keys, name), table)
    elif isinstance(value, list | tuple):
        if shape.items is None and shape.leaf.kind in NO_TEXT:
            shape = ANYTHING
        for index, inner in enumerate(value):
            yield from _walk(inner, shape.items or ANYTHING, f"{path}[{index}]", (*keys, index), table)


def reported_strings(events: Iterable[Event]) -> Iterator[str]:
    """Yield the strings in ``events`` that steps see."""
    for event in events:
        match event:
            case TextDelta() | RefusalDelta() | ReasoningDelta() | ToolCallDelta():
                yield event.text
            case ToolCallStart():
                yield event.name
            case ErrorInfo():
                yield event.message
            case NativeItem() | Citation() | ReasoningState():
                yield from (found.text for found in item_strings(event.api, event.item))
            case AnswerEnd(details=details, stop_sequence=stop_sequence):
                if stop_sequence:
                    yield stop_sequence
                if details is not None:
                    yield from (found.text for found in item_strings(DETAILS_API, details))


def _spellings(text: str) -> set[str]:
    """Return ``text``, plain and with JSON's escapes."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return {text}
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


def _without_texts(data: bytes, texts: Sequence[_Text]) -> bytes | None:
    """Return ``data`` without the strings that are ``texts``; ``None`` if a text is not found or there are many."""
    if len(texts) > MOST_CUT:
        return None
    rest: bytes | None = data
    for event in texts:
        if (rest := _without_text(data, event.text)) is None:
            return None
        data = rest
    return rest


def _without_text(data: bytes, text: str) -> bytes | None:
    """Return ``data`` with an empty string instead of ``text``; ``None`` if it is not found."""
    raw = b'"%b"' % text.encode("utf-8", "replace")
    if (at := data.find(raw)) >= 0 and _BACKSLASH not in raw:
        return data[: at + 1] + data[at + len(raw) - 1 :]
    escaped = (json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"), json.dumps(text).encode())
    written = next((one for one in escaped if one in data), None)
    return None if written is None else data.replace(written, b'""', 1)


def _form_of(data: bytes) -> bytes:
    """Return ``data`` with the same digits, padding and ids everywhere, because these differ in each event.

    The strings of two events with the same form differ in digits, padding, ids and reported texts only, are at the same
    paths, and are empty in both or in none. That is enough if all strings of one event are exempt or reported. The same
    is true without the lengths of their numbers."""
    return b"\0".join(_VARIED.split(data)).translate(_ZEROS)
