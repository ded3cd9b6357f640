"""The state of an answer that is being read: its steps, their blocks, and the calls so far.

Google's steps can overlap. Calls may interleave in the events of an answer, but only one other block is open at a time,
so events of other steps wait until the earlier ones have ended.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from providers.neutral.block_order import join_texts
from providers.neutral.bounds import ID, PLACE, AnswerBudgets, memory_of
from providers.neutral.codec import new_id
from streams.events import (
    BlockEnd,
    Citation,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    change_event,
)

StepEvent: TypeAlias = (
    TextDelta | ReasoningDelta | ReasoningState | Citation | ToolCallStart | ToolCallDelta | NativeItem | BlockEnd
)

UNNUMBERED: Final = -1
"""The block of an event whose step has no number yet."""

_LAST: Final = (BlockEnd, NativeItem)


class OpenStep:
    """A step whose pieces are still arriving."""

    __slots__ = ("has_ended", "held", "item", "kind", "number", "pieces", "signature", "text_size")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.number: int | None = None  # of the open block
        self.pieces: list[str] = []  # of its text
        self.text_size = 0
        self.item: dict[str, Any] = {}  # members of a step that only this API knows, or of a call
        self.signature = ""
        self.held: list[StepEvent] = []  # events that wait for earlier steps
        self.has_ended = False


class OpenAnswer(AnswerBudgets):
    """The steps of one answer."""

    __slots__ = ("_block_count", "_calls", "_last", "_speaker", "_waiting", "lacks_call", "scanned", "steps")

    def __init__(self, content_limit: int) -> None:
        super().__init__(content_limit)
        self.steps: dict[int, OpenStep] = {}  # by index
        self._last = 0  # the index of the last event
        self._speaker: OpenStep | None = None  # the step whose block may be open, other than calls
        self._waiting: deque[OpenStep] = deque()
        self._block_count = 0
        self.lacks_call = False  # whether arguments of a call arrived without its start
        self.scanned = 0  # characters scanned for the positions of citations
        self._calls: dict[str, bool] = {}  # by id, whether the call has a result

    @property
    def has_blocks(self) -> bool:
        return self._block_count > 0

    @property
    def awaits_results(self) -> bool:
        """True if a call has no result."""
        return not all(self._calls.values())

    def charge(self, counted_as: str) -> bool:
        """Count the memory of the current event's values, and return whether the answer's values are kept at all."""
        if self.holds_content:
            self.charge_event(counted_as)
        return self.holds_content

    def index_of(self, value: Any) -> int:
        """Return the index in an event; if it has no index, the index of the previous event."""
        self._last = value if type(value) is int else self._last
        return self._last

    def open_step(self, index: int, kind: str) -> OpenStep:
        """Return a new step at ``index``. Raises ``AnswerTooLarge`` for too many."""
        self.places.spend(PLACE, "steps")
        step = self.steps[index] = OpenStep(kind)
        return step

    def call_id(self, provider_id: Any) -> str:
        """Return the id of a call: ``provider_id``, or a new one if that is missing, empty or repeated."""
        good = isinstance(provider_id, str) and provider_id and provider_id not in self._calls
        id = str(provider_id) if good else new_id("call_")
        self.places.spend(ID + len(id), "calls")
        self._calls[id] = False
        return id

    def record_result(self, call_id: Any) -> None:
        """Record that the provider has run a call itself."""
        if isinstance(call_id, str) and call_id in self._calls:
            self._calls[call_id] = True

    # Blocks

    def call_events(self, step: OpenStep, events: Iterable[StepEvent]) -> list[Event]:
        """Return the events of a call, which may interleave with other blocks."""
        return [self._numbered(step, event) for event in events]

    def add(self, step: OpenStep, events: Sequence[StepEvent]) -> list[Event]:
        """Return the events that can follow now; others wait for the steps before them."""
        if self._speaker is None and events:
            self._speaker = step
        if self._speaker is step or not self.holds_content:
            return [self._numbered(step, event) for event in events]
        if events:
            if not step.held:
                self._waiting.append(step)
            self.held.spend(memory_of(self.arriving), "overlapping steps")
            step.held += events
        return []

    def end(self, step: OpenStep, events: Sequence[StepEvent]) -> list[Event]:
        """Return the last events of a step, and those that waited for it."""
        out = self.add(step, events)
        step.has_ended = True
        while self._speaker is not None and self._speaker.has_ended:
            self._speaker = None
            if self._waiting:
                following = self._waiting.popleft()
                held, following.held = following.held, []
                out += self.add(following, join_texts(held))
        return out

    def _numbered(self, step: OpenStep, event: StepEvent) -> Event:
        if step.number is None:
            step.number = self._block_count
            self._block_count += 1
        found = event if event.block == step.number else change_event(event, block=step.number)
        if isinstance(event, _LAST):
            step.number = None
        return found


def native_events(kind: str, item: Mapping[str, Any]) -> list[StepEvent]:
    """Return the events of a step or content that only this API can express."""
    return [NativeItem(UNNUMBERED, "interactions", kind, item)]
