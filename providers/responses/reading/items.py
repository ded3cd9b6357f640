"""The output items of a provider's answer, and which of them an event belongs to."""

import enum
from collections.abc import Iterator
from typing import Any

import attrs

from providers.neutral.bounds import ID, PLACE, Budget
from providers.responses.reading.wire import Wire
from providers.responses.tools import custom_names
from providers.responses.values import Json, as_string
from streams.events import ToolKind

CALLS: dict[str, tuple[ToolKind, str]] = {
    "function_call": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
}
"""Types of items that call a tool of the client's: the kind of tool, and the member that holds its input."""


class ItemStage(enum.Enum):
    """The stages of an item. Each stage leads to those below it."""

    NEW = "new"
    SAID = "said"  # some of its content has become events
    DONE = "done"  # it was there whole, and all of it has become events


NEW, SAID, DONE = ItemStage


class OutputItem:
    """The facts known of one output item."""

    __slots__ = ("block", "part", "parts", "phase", "stage", "type", "voice")

    def __init__(self, type: str) -> None:
        self.type = type
        self.stage: ItemStage = NEW
        self.parts: set[Any] = set()  # messages: the content indices that were said
        self.phase: str | None = None  # messages: commentary or the final answer
        self.voice: str | None = None  # reasoning: "summary" or "text", whichever came first
        self.part: Any = None  # reasoning: the summary part that was said last
        self.block: int | None = None  # calls: the block while it is open

    def say(self) -> None:
        """Note that some of the content has become events."""
        if self.stage is NEW:
            self.stage = SAID


@attrs.frozen
class Terms:
    """The facts in a response object about its request."""

    stored: bool = False
    declares_tools: bool = False
    custom_tools: frozenset[str] = frozenset()

    @classmethod
    def of(cls, response: Json) -> "Terms":
        tools = response.get("tools")
        return cls(response.get("store") is True, bool(tools), custom_names(tools))


class Items:
    """Finds items by ``output_index``, and by id where a server leaves the index out."""

    def __init__(self, places: Budget) -> None:
        self.terms = Terms()
        self.places = places
        self._items: dict[Any, OutputItem] = {}
        self._by_id: dict[Any, OutputItem] = {}

    def __iter__(self) -> Iterator[OutputItem]:
        return iter(self._items.values())

    def of(self, wire: Wire, type: str) -> OutputItem:
        """The item that ``wire`` belongs to, made if the upstream never announced it."""
        index = wire.output_index
        item = self._items.get(index) if isinstance(index, int) else None
        if item is not None:  # by far the most frequent
            return item
        id = as_string(wire.item_id)
        item = self.find(index, id)
        if item is None:
            self.places.spend(PLACE + len(id), "output items")
            item = self._items[_key(wire, id)] = OutputItem(type)
            if id:
                self._by_id.setdefault(id, item)
        return item

    def find(self, index: Any, id: str) -> OutputItem | None:
        """The item by its index, else by its id: servers may leave the one out in some events and not in others. What
        has an index is never found by the id of another, which may be the same."""
        if not isinstance(index, int):
            return self._by_id.get(id) or self._items.get(id)
        item = self._items.get(index)
        if item is None and id and id in self._items:
            item = self._items[index] = self._items.pop(id)
        return item

    def add(self, wire: Wire, value: Json) -> OutputItem:
        """A new item in the place that ``wire`` names."""
        id = as_string(value.get("id"))
        type = self.type_of(value)
        self.places.spend(PLACE + len(id) + len(type), "output items")
        item = self._items[_key(wire, id)] = OutputItem(type)
        return item

    def is_known(self, id: str, item: OutputItem | None = None) -> bool:
        """There is an item with this id; with ``item``, it is this one."""
        return id in self._by_id if item is None else self._by_id.get(id) is item

    def know(self, item: OutputItem, value: Json) -> OutputItem:
        """``item``, found from now on by the ids in ``value``."""
        if id := as_string(value.get("id")):
            self._remember(id, item)
        if item.type in CALLS and (call_id := as_string(value.get("call_id"))):
            self._remember(("call", call_id), item)
        if phase := as_string(value.get("phase")):
            self.places.spend(len(phase), "output items")
            item.phase = phase
        return item

    def _remember(self, id: str | tuple[str, str], item: OutputItem) -> None:
        if id not in self._by_id:
            self.places.spend(ID + len(id[-1] if isinstance(id, tuple) else id), "output items")
        self._by_id[id] = item

    def at_the_end(self, position: int, value: Json) -> OutputItem:
        """The item that ``value`` is, the one at ``position`` in the output of a response that has ended."""
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
        """The item's type; ``hosted`` for a custom call of a tool that the client never declared: xAI says so of its
        own search tools, and the client would be asked to run what it does not have."""
        type = as_string(value.get("type"))
        terms = self.terms
        if (
            type == "custom_tool_call"
            and terms.declares_tools
            and as_string(value.get("name")) not in terms.custom_tools
        ):
            return "hosted"
        return type


def _key(wire: Wire, id: str) -> Any:
    return wire.output_index if isinstance(wire.output_index, int) else id
