"""The state of a Responses answer while it arrives: decoded events, items by index or id, hosted tool calls."""

import enum
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from providers.neutral.bounds import ID, PLACE, PLACES, Budget
from providers.neutral.values import Json, as_object, as_string
from providers.responses.tools import custom_names
from streams.events import BlockEnd, Event, ReasoningDelta, RefusalDelta, TextDelta, ToolKind
from streams.surrogates import tolerate_lone_surrogates


class Wire(msgspec.Struct, gc=False):
    """The members of an event that are read; msgspec skips the others.

    Types are not checked, because real servers send ``null`` where the specification has a string.
    """

    type: Any = None
    delta: Any = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    item_id: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    logprobs: Any = None
    part: Any = None
    item: Any = None
    annotation: Any = None
    response: Any = None
    error: Any = None


decode = tolerate_lone_surrogates(msgspec.json.Decoder(Wire).decode)


CALLS: dict[str, tuple[ToolKind, str]] = {
    "function_call": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
}
"""By item type, the kind of the client's tool that it calls, and the member with its input."""


class ItemStage(enum.Enum):
    """The stages of an item, in order."""

    NEW = "new"
    PARTIAL = "partial"  # some of its content was returned as events
    DONE = "done"  # it arrived whole, and all of it was returned as events


NEW, PARTIAL, DONE = ItemStage


class OutputItem:
    """The known facts about one output item."""

    __slots__ = ("block", "id", "part", "parts", "phase", "stage", "type", "variant")

    def __init__(self, type: str, id: str = "") -> None:
        self.type = type
        self.id = id
        self.stage: ItemStage = NEW
        self.parts: set[Any] = set()  # messages: the content indices that were returned
        self.phase: str | None = None  # messages: commentary or the final answer
        self.variant: str | None = None  # reasoning: "summary" or "text", whichever arrived first
        self.part: Any = None  # reasoning: the last summary part that was returned
        self.block: int | None = None  # calls: the block while it is open

    def mark_partial(self) -> None:
        """Record that some of the content was returned as events."""
        if self.stage is NEW:
            self.stage = PARTIAL


@attrs.frozen(repr=False)
class RequestFacts:
    """Facts about the request in a response object."""

    stored: bool = False
    declares_tools: bool = False
    custom_tools: frozenset[str] = frozenset()

    @classmethod
    def of(cls, response: Json) -> "RequestFacts":
        tools = response.get("tools")
        return cls(response.get("store") is True, bool(tools), custom_names(tools))


class Items:
    """The output items by ``output_index``, or by id for servers that omit the index."""

    def __init__(self, places: Budget) -> None:
        self.request = RequestFacts()
        self.places = places
        self._items: dict[Any, OutputItem] = {}
        self._by_id: dict[Any, OutputItem] = {}

    def __iter__(self) -> Iterator[OutputItem]:
        return iter(self._items.values())

    def find_or_add(self, wire: Wire, type: str) -> OutputItem:
        """Return the item that ``wire`` belongs to, or a new one if the provider never announced it."""
        index, id = wire.output_index, as_string(wire.item_id)
        item = self._items.get(index) if isinstance(index, int) else None
        if item is not None and item.id == id:  # by far the most frequent case
            return item
        item = self.find(index, id)
        if item is None:
            self.places.spend(PLACE + len(id), "output items")
            item = self._items[_key_of(wire, id)] = OutputItem(type, id)
            if id:
                self._by_id.setdefault(id, item)
        return item

    def find(self, index: Any, id: str) -> OutputItem | None:
        """Return the item by its index, else by its id, because servers may omit the index in some events.

        An item with an index is never found by another item's id, which may be the same. Some servers give the same
        index to items with different ids (tashfeenahmed/freellmapi#842).
        """
        if not isinstance(index, int):
            return self._by_id.get(id) or self._items.get(id)
        item = self._items.get(index)
        if item is not None and item.id not in ("", id):
            return self._by_id.get(id, item)
        if item is None and id and id in self._items:
            item = self._items[index] = self._items.pop(id)
        return item

    def add(self, wire: Wire, value: Json) -> OutputItem:
        """Add and return a new item at the index of ``wire``."""
        id = as_string(value.get("id"))
        type = self.type_of(value)
        self.places.spend(PLACE + len(id) + len(type), "output items")
        key = _key_of(wire, id)
        if (before := self._items.get(key)) is not None and before.id not in ("", id):
            self._items[before.id] = before
        item = self._items[key] = OutputItem(type, id)
        return item

    def is_known(self, id: str, item: OutputItem | None = None) -> bool:
        """Return whether an item has this id; with ``item``, whether it is that item."""
        return id in self._by_id if item is None else self._by_id.get(id) is item

    def remember_ids(self, item: OutputItem, value: Json) -> OutputItem:
        """Record the ids in ``value`` for ``item``, and return it."""
        if id := as_string(value.get("id")):
            self._store_id(id, item)
        if item.type in CALLS and (call_id := as_string(value.get("call_id"))):
            self._store_id(("call", call_id), item)
        if phase := as_string(value.get("phase")):
            self.places.spend(len(phase), "output items")
            item.phase = phase
        return item

    def _store_id(self, id: str | tuple[str, str], item: OutputItem) -> None:
        if id not in self._by_id:
            self.places.spend(ID + len(id[-1] if isinstance(id, tuple) else id), "output items")
        self._by_id[id] = item

    def find_final(self, position: int, value: Json) -> OutputItem:
        """Return the item for ``value``, at ``position`` in the output of a response that has ended."""
        item = self._by_id.get(as_string(value.get("id")))
        type = self.type_of(value)
        if item is None and type in CALLS:
            item = self._by_id.get(("call", as_string(value.get("call_id"))))
        if item is None:
            item = self._items.get(position)
            if item is None or (item.stage is not DONE and item.type != type):
                item = OutputItem(type)
        return item

    def type_of(self, value: Json) -> str:
        """Return the item's type; ``hosted`` for a custom call of a tool that the client has not declared.

        xAI reports its own search tools this way, and the client could not run them.
        """
        type = as_string(value.get("type"))
        request = self.request
        if (
            type == "custom_tool_call"
            and request.declares_tools
            and as_string(value.get("name")) not in request.custom_tools
        ):
            return "hosted"
        return type


def _key_of(wire: Wire, id: str) -> Any:
    return wire.output_index if isinstance(wire.output_index, int) else id


Speech: TypeAlias = type[TextDelta] | type[RefusalDelta] | type[ReasoningDelta]


class OpenAnswer:
    """The state shared by all kinds of items; memory grows with the number of items, not their length.

    Blocks are numbered as they open; at most one block with text is open.
    """

    __slots__ = (
        "billed",
        "block",
        "blocks",
        "call_ids",
        "citations",
        "items",
        "last_piece",
        "open_text",
        "text_length",
    )

    def __init__(self) -> None:
        self.items = Items(Budget(PLACES))
        self.blocks = 0
        self.open_text: tuple[OutputItem, Speech, Any] | None = None  # the item, kind and part of the open text
        self.block = 0  # the block of the open text
        self.text_length = 0  # characters of the open text so far
        self.last_piece = ""  # the last piece of the open text
        self.citations = 0  # citations that arrived as separate events
        self.call_ids: set[str] = set()
        self.billed: set[tuple[str, int]] = set()  # billed calls of the provider's tools: see ``record_hosted_call``

    def open_block(self, item: OutputItem, speech: Speech, part: Any) -> list[Event]:
        """Close the open block and open one for the text of ``item``."""
        events = self.close_block()
        item.mark_partial()
        self.citations = 0
        self.open_text = (item, speech, part)
        self.block = self.next_block()
        return events

    def close_block(self) -> list[Event]:
        if self.open_text is None:
            return []
        self.open_text = None
        return [BlockEnd(self.block)]

    def next_block(self) -> int:
        """Return the number of a new block."""
        self.blocks += 1
        return self.blocks - 1

    def lacks_calls(self) -> bool:
        """Return whether the provider sent arguments but, in the whole answer, no call."""
        return not self.call_ids and any(item.type in CALLS and item.stage is NEW for item in self.items)

    def is_open(self, item: OutputItem, speech: Speech) -> bool:
        return self.open_text is not None and self.open_text[0] is item and self.open_text[1] is speech


TakeEvent: TypeAlias = Callable[[OpenAnswer, Wire], Sequence[Event]]


def record_hosted_call(billed: set[tuple[str, int]], type: str, item: Json) -> None:
    """Add the billed call of ``item`` to ``billed``: the tool's name, and a number unique to the call or container."""
    row = _BILLED.get(type)
    if row is not None:
        tool, session = row
        if (number := session(item, len(billed))) is not None:
            billed.add((tool, number))


def count_hosted_calls(billed: set[tuple[str, int]], response: Json) -> tuple[tuple[str, int], ...]:
    """Return the number of billed calls by tool; a number of searches reported by ``response`` takes precedence."""
    calls = Counter(tool for tool, _ in billed)
    stated = as_object(as_object(response.get("tool_usage")).get("web_search")).get("num_requests")
    if type(stated) is int and stated > 0:
        calls["web_search"] = stated
    return tuple(sorted(calls.items()))


def _number_call(item: Json, others: int) -> int:
    return others


def _number_search(item: Json, others: int) -> int | None:
    """Return a number for a search, or None: opening or scanning a page is not billed (platform.openai.com, Web
    search)."""
    return others if as_object(item.get("action")).get("type", "search") == "search" else None


def _number_container(item: Json, others: int) -> int:
    """Return a number for a container, which is billed once (platform.openai.com, Pricing)."""
    return _container_number(item.get("container_id"), others)


def _number_shell(item: Json, others: int) -> int | None:
    """Return a number for the container of a shell call, or None for the client's own shell, which is free."""
    id = as_object(item.get("environment")).get("container_id")
    return None if id is None else _container_number(id, others)


def _container_number(container: Any, others: int) -> int:
    return hash(container) if isinstance(container, str) else others


_BILLED: Mapping[str, tuple[str, Callable[[Json, int], int | None]]] = {
    "web_search_call": ("web_search", _number_search),
    "file_search_call": ("file_search", _number_call),
    "image_generation_call": ("image_generation", _number_call),
    "code_interpreter_call": ("code_interpreter", _number_container),
    "shell_call": ("code_interpreter", _number_shell),
}
"""By item type, the billed tool and the function that numbers its calls.

Other items only cost tokens (MCP, tool search) or run at the client.
"""
