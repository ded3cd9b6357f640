"""A Responses answer while it arrives: events decoded, items found by index or id, the provider's own tools."""

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
from streams.surrogates import reading


class Wire(msgspec.Struct, gc=False):
    """The members of an event that are read; all others are skipped without building them. Nothing is taken on trust:
    real servers send ``null`` where the specification has a string."""

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


decode = reading(msgspec.json.Decoder(Wire).decode)


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
        """Return the item that ``wire`` belongs to, made if the upstream never announced it."""
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
        """Return the item by its index, else by its id: servers may leave the one out in some events and not in others.
        What has an index is never found by the id of another, which may be the same."""
        if not isinstance(index, int):
            return self._by_id.get(id) or self._items.get(id)
        item = self._items.get(index)
        if item is None and id and id in self._items:
            item = self._items[index] = self._items.pop(id)
        return item

    def add(self, wire: Wire, value: Json) -> OutputItem:
        """Return a new item in the place that ``wire`` names."""
        id = as_string(value.get("id"))
        type = self.type_of(value)
        self.places.spend(PLACE + len(id) + len(type), "output items")
        item = self._items[_key(wire, id)] = OutputItem(type)
        return item

    def is_known(self, id: str, item: OutputItem | None = None) -> bool:
        """There is an item with this id; with ``item``, it is this one."""
        return id in self._by_id if item is None else self._by_id.get(id) is item

    def know(self, item: OutputItem, value: Json) -> OutputItem:
        """Return ``item``, found from now on by the ids in ``value``."""
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
        """Return the item that ``value`` is, the one at ``position`` in the output of a response that has ended."""
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
        """Return the item's type; ``hosted`` for a custom call of a tool that the client never declared: xAI says so of
        its own search tools, and the client would be asked to run what it does not have."""
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


Speech: TypeAlias = type[TextDelta] | type[RefusalDelta] | type[ReasoningDelta]


class OpenAnswer:
    """The state that events of all kinds of items share. Its memory grows with the number of items, never with their
    length.

    Blocks are numbered as they open; of those with text one is open at a time."""

    __slots__ = ("block", "blocks", "call_ids", "citations", "heard", "items", "piece", "place", "ran")

    def __init__(self) -> None:
        self.items = Items(Budget(PLACES))
        self.blocks = 0
        self.place: tuple[OutputItem, Speech, Any] | None = None  # whose text is open, and which part of it
        self.block = 0  # the block of that text
        self.heard = 0  # characters of it
        self.piece = ""  # the last of them
        self.citations = 0  # how many came as events of their own
        self.call_ids: set[str] = set()
        self.ran: set[tuple[str, int]] = set()  # the provider's own tools: see ``hosted_tools``

    def open(self, item: OutputItem, speech: Speech, part: Any) -> list[Event]:
        """Open a block for the words of ``item``; the block that was open before ends."""
        events = self.shut()
        item.say()
        self.citations = 0
        self.place = (item, speech, part)
        self.block = self.next_block()
        return events

    def shut(self) -> list[Event]:
        """End the block of text that is open."""
        if self.place is None:
            return []
        self.place = None
        return [BlockEnd(self.block)]

    def next_block(self) -> int:
        """Return the number of a block that opens."""
        self.blocks += 1
        return self.blocks - 1

    def says(self, item: OutputItem) -> bool:
        """Return whether the open text is that of ``item``."""
        return self.place is not None and self.place[0] is item


TakeEvent: TypeAlias = Callable[[OpenAnswer, Wire], Sequence[Event]]


def note_hosted(ran: set[tuple[str, int]], type: str, item: Json) -> None:
    """Note in ``ran`` what ``item`` is billed as: the tool's name, and a number that is another one for each call, or
    the same for all of one container."""
    row = _BILLED.get(type)
    if row is not None:
        tool, session = row
        if (number := session(item, len(ran))) is not None:
            ran.add((tool, number))


def hosted_calls(ran: set[tuple[str, int]], response: Json) -> tuple[tuple[str, int], ...]:
    """Return what was noted, by tool; the number of searches that ``response`` itself states outranks that of their
    items."""
    calls = Counter(tool for tool, _ in ran)
    stated = as_object(as_object(response.get("tool_usage")).get("web_search")).get("num_requests")
    if type(stated) is int and stated > 0:
        calls["web_search"] = stated
    return tuple(sorted(calls.items()))


def _each(item: Json, others: int) -> int:
    return others


def _search(item: Json, others: int) -> int | None:
    """Number a search. Searches are billed, a page that is opened or looked through is not (platform.openai.com, Web
    search)."""
    return others if as_object(item.get("action")).get("type", "search") == "search" else None


def _container(item: Json, others: int) -> int:
    """Number a container, which is billed, however often it is used (platform.openai.com, Pricing)."""
    return _numbered(item.get("container_id"), others)


def _shell_container(item: Json, others: int) -> int | None:
    """Return the same where commands run in one; a shell of the client's costs nothing."""
    id = as_object(item.get("environment")).get("container_id")
    return None if id is None else _numbered(id, others)


def _numbered(container: Any, others: int) -> int:
    return hash(container) if isinstance(container, str) else others


_BILLED: Mapping[str, tuple[str, Callable[[Json, int], int | None]]] = {
    "web_search_call": ("web_search", _search),
    "file_search_call": ("file_search", _each),
    "image_generation_call": ("image_generation", _each),
    "code_interpreter_call": ("code_interpreter", _container),
    "shell_call": ("code_interpreter", _shell_container),
}
"""The tool of an item, and how its calls are told apart. Others cost nothing beside their tokens (MCP, tool search), or
run at the client."""
