"""Reasoning items while they are written."""

from typing import Any

from providers.neutral.seal import Issuer
from providers.responses.ids import own_id
from providers.responses.numbering import Deltas, EventSequence
from providers.responses.output import Object, reasoning_item, sealed_text, summary_part
from streams.events import ReasoningState


class OpenReasoning:
    """A reasoning item with at most one summary part."""

    def __init__(self, out: EventSequence, issuer: Issuer) -> None:
        self._out = out
        self._issuer = issuer
        self.index = out.index()
        self._id = own_id("rs_")
        self._where = {"item_id": self._id, "output_index": self.index, "summary_index": 0}
        self._deltas: Deltas | None = None
        self._item: Object | None = None
        self._sealed: str | None = None

    def open(self, native: Object | None) -> bytes:
        self._item = native
        return self._out.added(self.index, reasoning_item(self._id, status="in_progress") if native is None else native)

    def write(self, text: str) -> bytes:
        data = b""
        if self._deltas is None:
            part = {**self._where, "part": summary_part()}
            data = self._out.event("response.reasoning_summary_part.added", part)
            self._deltas = Deltas(self._out, "response.reasoning_summary_text.delta", self._where)
        return data + self._deltas.write(text)

    def seal(self, sealed: ReasoningState) -> None:
        """Keep what the provider wants back. An item of this API whose text has already gone out under an id of ours is
        sealed whole as well: under that id the provider would not know it."""
        self._sealed = sealed_text(self._issuer, sealed)

    def close(self) -> bytes:
        if self._deltas is None:
            return b""
        text = self._deltas.text()
        data = self._out.event("response.reasoning_summary_text.done", {**self._where, "text": text})
        part = {**self._where, "part": summary_part(text)}
        return data + self._out.event("response.reasoning_summary_part.done", part)

    def item(self, status: str) -> Any:
        if self._item is not None:
            return self._item
        text = "" if self._deltas is None else self._deltas.text()
        return reasoning_item(self._id, text, self._sealed, status)

    def cut(self) -> tuple[int, Any]:
        return self.index, self.item("incomplete")
