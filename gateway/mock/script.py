"""What the stand-in provider answers, as events: text, thinking if asked for, a tool call if a tool is offered."""

from collections.abc import Iterator

import msgspec

from providers.call import Call, ResultPart, TextPart, Tool
from providers.codec import new_id
from streams.events import (
    Api,
    Begin,
    BlockEnd,
    End,
    Event,
    Reason,
    Sealed,
    Text,
    Thought,
    ToolBegin,
    ToolInput,
    Usage,
)

_THINKING = "The person wants a short answer. I have no knowledge of my own, so I will say what I am and what I got."
_ANSWER = (
    "This is the stand-in model of trigate. It understood your request and answers it word by word, as a real model "
    "would, so that you can see a stream arrive. You said: “{said}”. Point a provider of your configuration at a real "
    "address and this very client will talk to it."
)


def script(call: Call, api: Api) -> list[Event]:
    """The answer to ``call``, as events: thinking if it is asked for, a call of the first tool if one is offered and
    nothing has come back yet, else text."""
    return list(_events(call, api))


def _events(call: Call, api: Api) -> Iterator[Event]:
    yield Begin(new_id("mock-"), call.model)
    block = 0
    if call.reasoning is not None and call.reasoning.mode != "disabled" and call.reasoning.effort != "none":
        yield from (Thought(block, word) for word in _words(_THINKING))
        yield Sealed(block, api, _native_thinking(api))
        yield BlockEnd(block)
        block += 1
    tool = next((tool for tool in call.tools if isinstance(tool, Tool)), None)
    reason: Reason
    if tool is not None and not _has_result(call):
        yield from _call_events(block, tool)
        reason, said = "tool_calls", 12
    else:
        words = _words(_ANSWER.format(said=_said(call)))
        yield from (Text(block, word) for word in words)
        yield BlockEnd(block)
        reason, said = "stop", len(words)
    yield Usage(input=max(1, sum(len(str(turn.parts)) for turn in call.turns) // 4), output=said)
    yield End(reason)


def _call_events(block: int, tool: Tool) -> Iterator[Event]:
    yield ToolBegin(block, new_id("call_"), tool.name, tool.kind)
    text = "mock input" if tool.kind == "custom" else msgspec.json.encode(_arguments(tool)).decode()
    half = len(text) // 2
    yield from (ToolInput(block, piece) for piece in (text[:half], text[half:]) if piece)
    yield BlockEnd(block)


def _arguments(tool: Tool) -> dict[str, object]:
    """A value for each required member of the tool's schema."""
    schema = tool.schema if isinstance(tool.schema, dict) else {}
    members = schema.get("properties")
    samples: dict[str, object] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
    required = schema.get("required") or ()
    if not isinstance(members, dict):
        return {}
    return {
        name: samples.get(str(members.get(name, {}).get("type")), "mock")
        for name in required
        if isinstance(members.get(name), dict)
    }


def _has_result(call: Call) -> bool:
    """Whether a result has come back at any time: a coding agent's own words may stand behind it, and it would be asked
    for the same call for ever."""
    return any(isinstance(part, ResultPart) for turn in call.turns for part in turn.parts)


def _said(call: Call) -> str:
    for turn in reversed(call.turns):
        texts = [part.text for part in turn.parts if isinstance(part, TextPart) and part.text]
        if turn.role == "user" and texts:  # else these are tool results alone
            text = texts[-1]  # coding agents put what the person should not see before it
            return text if len(text) <= 80 else text[:79] + "…"
    return ""


def _native_thinking(api: Api) -> object:
    """What the provider that is played would want back on the next turn."""
    match api:
        case "messages":
            return {"type": "thinking", "thinking": _THINKING, "signature": "bW9jay1zaWduYXR1cmU="}
        case "responses":
            summary = [{"type": "summary_text", "text": _THINKING}]
            return {"type": "reasoning", "id": new_id("rs_"), "summary": summary, "encrypted_content": "bW9jaw=="}
        case _:
            return {"field": "reasoning_content"}


def _words(text: str) -> list[str]:
    """The words with the space before each, as models' tokens have it."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
