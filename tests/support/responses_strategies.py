"""Strategies for answers, and for values of the Responses API."""

import json
from typing import Any, get_args

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
    Reason,
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
_SERVED = {"type": "server_tool_use", "name": "web_search", "input": {}}
_TOKENS = st.builds(lambda text: {"token": text, "logprob": -0.5, "bytes": [], "top_logprobs": []}, words)
_LOGPROBS = st.none() | st.lists(_TOKENS, min_size=1, max_size=2)
_CITED: dict[str, tuple[tuple[Any, Any], ...]] = {
    "responses": (
        ("responses", {"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 0}),
        ("responses", {"type": "url_citation", "url": "https://c", "title": "C", "start_index": 1, "end_index": 2}),
    ),
    "chat": (
        ("chat", {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A", "start_index": 0}}),
        ("messages", {"type": "web_search_result_location", "url": "https://b", "title": None}),
        ("messages", {"type": "char_location", "document_index": 0}),
        ("responses", {"type": "url_citation", "url": "https://c", "start_index": 1, "end_index": 2}),
    ),
    "messages": (("chat", {"type": "url_citation", "url_citation": {"url": "https://a"}}),),
}
"""Citations by the client's API."""


def draw_block(draw: st.DrawFn, kind: str, block: int, api: str, between: bool) -> list[Event]:
    """Generate a block other than a call; ``between`` pieces of calls, streams do not know that it has no item."""
    if kind == "native":
        native = NativeItem(block, "responses", "web_search_call", {**_SEARCH, "id": f"ws_{block}"})
        served = NativeItem(block, "messages", "server_tool_use", {**_SERVED, "id": f"srv_{block}"})
        return [draw(st.sampled_from([native] if between and api == "responses" else [native, served]))]
    pieces = draw(st.lists(words, min_size=kind != "thought", max_size=3))
    if kind == "text":
        events: list[Event] = [TextDelta(block, piece, draw(_LOGPROBS)) for piece in pieces]
        events += [Citation(block, *one) for one in draw(st.lists(st.sampled_from(_CITED[api]), max_size=2))]
    else:
        events = [(RefusalDelta if kind == "refusal" else ReasoningDelta)(block, piece) for piece in pieces]
    if kind == "thought" and (not pieces or draw(st.booleans())):
        summary = [{"type": "summary_text", "text": "".join(pieces)}] if pieces else []
        item = {"type": "reasoning", "id": f"rs_{block}", "summary": summary, "encrypted_content": "e"}
        thinking = {"type": "thinking", "thinking": "".join(pieces), "signature": "s"}
        items = {"responses": item, "messages": thinking, "chat": {"field": "reasoning"}}
        events.append(ReasoningState(block, *draw(st.sampled_from(sorted(items.items())))))  # type: ignore[arg-type]
    return [*events, BlockEnd(block)]


def end_call(block: int, rest: str) -> list[Event]:
    return [*([ToolCallDelta(block, rest)] if rest else []), BlockEnd(block)]


@st.composite
def legal_events(draw: st.DrawFn, api: str = "responses", whole: bool = False) -> list[Event]:
    """Generate any sequence that ``streams/events.py`` allows, for a client of ``api``: ``whole`` answers, or any."""
    events: list[Event] = [AnswerStart("id", "m")]
    open_calls: dict[int, str] = {}  # the rest of their arguments, so that those of functions are JSON
    blocks = 0
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["text", "refusal", "thought", "call", "native", "input", "end"]))
        if kind in ("input", "end"):
            if open_calls:
                block = draw(st.sampled_from(sorted(open_calls)))
                text = draw(words)
                text = json.dumps(text)[1:-1] if open_calls[block] else text
                events += [ToolCallDelta(block, text)] if kind == "input" else end_call(block, open_calls.pop(block))
            continue
        block, blocks = blocks, blocks + 1
        if kind != "call":
            events += draw_block(draw, kind, block, api, bool(open_calls))
            continue
        name, form = draw(st.sampled_from([("f", "function"), ("own", "function"), ("own", "custom")]))
        events.append(ToolCallStart(block, f"call_{block}", name, form))  # type: ignore[arg-type]
        if form == "function" and draw(st.booleans()):
            events.append(BlockEnd(block))
        else:
            begin, open_calls[block] = ('{"input":"', '"}') if form == "function" else (draw(words), "")
            events.append(ToolCallDelta(block, begin))
    events += [event for block, rest in open_calls.items() for event in end_call(block, rest)]
    if whole or draw(st.booleans()):
        events.append(Usage(1, 2, 3, output=4, reasoning=draw(st.none() | st.integers(0, 4))))
    reason: Any = draw(st.sampled_from(get_args(Reason)))
    end = AnswerEnd(reason, stop_sequence="###" if reason == "stop_sequence" else None)
    return [*events, end if whole or draw(st.booleans()) else ErrorInfo("upstream", "gone")]
