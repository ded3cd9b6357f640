"""Strategies for answers and values of the Responses API."""

from typing import Any

from hypothesis import strategies as st

from providers.neutral.request import (
    Tool,
)
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
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
    Usage,
)

words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["auto", "function", "message", "user", "x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "role", "content", "name", "tools", "call_id", "output", "text", "format", "summary",
                         "encrypted_content", "effort", "image_url", "file_data", "namespace"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


TOOLS = (Tool("own", kind="custom"), Tool("f"))

_SEARCH = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}
_SERVED = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}
_CITATION = {"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 0}


def draw_block(draw: st.DrawFn, kind: str, block: int) -> list[Event]:
    if kind == "native":
        native = NativeItem(block, "responses", "web_search_call", {**_SEARCH, "id": f"ws_{block}"})
        return [draw(st.sampled_from([native, NativeItem(block, "messages", "server_tool_use", _SERVED)]))]
    pieces = draw(st.lists(words, min_size=kind != "thought", max_size=3))
    speech: Any = {"text": TextDelta, "refusal": RefusalDelta, "thought": ReasoningDelta}[kind]
    events: list[Event] = [speech(block, piece) for piece in pieces]
    if kind == "text" and draw(st.booleans()):
        events.append(Citation(block, "responses", _CITATION))
    if kind == "thought" and (not pieces or draw(st.booleans())):
        summary = [{"type": "summary_text", "text": "".join(pieces)}] if pieces else []
        item = {"type": "reasoning", "id": f"rs_{block}", "summary": summary, "encrypted_content": "e"}
        thinking = {"type": "thinking", "thinking": "".join(pieces), "signature": "s"}
        items = {"responses": item, "messages": thinking, "chat": {"field": "reasoning"}}
        events.append(ReasoningState(block, *draw(st.sampled_from(sorted(items.items())))))  # type: ignore[arg-type]
    return [*events, BlockEnd(block)]


@st.composite
def legal_events(draw: st.DrawFn) -> list[Event]:
    """Generate any sequence that ``streams/events.py`` allows."""
    events: list[Event] = [AnswerStart("id", "m")]
    open_calls: dict[int, None] = {}
    blocks = 0
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["text", "refusal", "thought", "call", "native", "input", "end"]))
        if kind in ("input", "end"):
            if open_calls:
                block = draw(st.sampled_from(sorted(open_calls)))
                events.append(ToolCallDelta(block, draw(words)) if kind == "input" else BlockEnd(block))
                if kind == "end":
                    del open_calls[block]
            continue
        block, blocks = blocks, blocks + 1
        if kind == "call":
            name, form = draw(st.sampled_from([("f", "function"), ("own", "function"), ("own", "custom")]))
            events.append(ToolCallStart(block, f"call_{block}", name, form))  # type: ignore[arg-type]
            open_calls[block] = None
        else:
            events += draw_block(draw, kind, block)
    events += [BlockEnd(block) for block in open_calls]
    if draw(st.booleans()):
        events.append(Usage(1, 2, 3, output=4, reasoning=draw(st.none() | st.integers(0, 4))))
    reason = draw(st.sampled_from(["stop", "length", "refusal", "tool_calls", "pause"]))
    return [*events, draw(st.just(AnswerEnd(reason)) | st.just(ErrorInfo("upstream", "gone")))]  # type: ignore[arg-type]
