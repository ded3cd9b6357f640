"""Tool calls, several of which may be open at a time; all of them end with the answer."""

from collections.abc import Mapping
from typing import Any

from providers.chat.chunks import Delta
from providers.chat.reading.answer import OpenAnswer
from providers.chat.reading.fragments import ToolCall, name_and_text
from providers.chat.reading.values import objects
from streams.events import Event, ToolCallDelta, ToolCallStart


def take_members(answer: OpenAnswer, delta: Delta, out: list[Event]) -> None:
    """Fragments of calls."""
    for fragment in objects(delta.tool_calls):
        _take_fragment(answer, fragment, out)
    if isinstance(delta.function_call, dict):  # from before there were tools; there is one at most
        _take_fragment(answer, {"index": -1, "function": delta.function_call}, out)


def _take_fragment(answer: OpenAnswer, fragment: Mapping[str, Any], out: list[Event]) -> None:
    kind, name, text = name_and_text(fragment)
    if not (name or text or fragment.get("id")):
        return
    call = answer.calls.find(fragment, name, text)
    if call.block is None and name:
        answer.shut(out)
        call.name, call.kind, call.block = name, kind, answer.next_block()
        answer.tools.append(call.block)
        out.append(ToolCallStart(call.block, call.id, name, kind))
        out.extend(ToolCallDelta(call.block, piece) for piece in call.pieces)
    if text:
        _take_input(answer, call, text, out)


def _take_input(answer: OpenAnswer, call: ToolCall, text: str, out: list[Event]) -> None:
    call.arguments.add(text)
    if call.block is None:
        if answer.keeps:
            answer.held.spend(len(text), "arguments without a name")
            call.pieces.append(text)
    else:
        out.append(ToolCallDelta(call.block, text))
