"""Chat bodies with Anthropic's tools, calls and results, in Chat's own form.

Cursor's agent mode sends them for models with ``claude`` in their names (BerriAI/litellm#25193,
router-for-me/CLIProxyAPI#3805). Everything else in the body stays unchanged.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers.neutral.values import Json, as_object, as_objects, load

_CHANGED: Final = ("system", "messages", "tools", "tool_choice")
_MODES: Final = {None: None, "auto": "auto", "any": "required", "none": "none"}
_OF_CHOICE: Final = {"type", "name", "disable_parallel_tool_use"}
_SCHEMA: Final = "input_schema"


def in_own_form(members: Mapping[str, msgspec.Raw]) -> bytes | None:
    """Return the body in Chat's own form, ``None`` if none of its tools is Anthropic's or it is malformed."""
    body: dict[str, Any] = {name: load(bytes(members[name])) for name in _CHANGED if name in members}
    messages: Any = body.get("messages")
    tools: Any = body.get("tools")
    is_whole = all(isinstance(one, list) and len(as_objects(one)) == len(one) for one in (messages, tools))
    if not is_whole or not any(_SCHEMA in tool for tool in tools):
        return None
    if system := body.pop("system", None):
        messages = [{"role": "system", "content": system}, *messages]
    body["messages"] = [one for message in messages for one in _own_messages(message)]
    body["tools"] = [_own_tool(tool) if _SCHEMA in tool else tool for tool in tools]
    if isinstance(choice := body.get("tool_choice"), dict) and choice.keys() <= _OF_CHOICE:
        named = {"type": "function", "function": {"name": choice.get("name")}}
        body["tool_choice"] = named if "name" in choice else _MODES.get(choice.get("type"), choice)
        body["parallel_tool_calls"] = False if choice.get("disable_parallel_tool_use") else None
    rest = {name: value for name, value in members.items() if name not in _CHANGED}
    return msgspec.json.encode(rest | {name: value for name, value in body.items() if value is not None})


def _own_tool(tool: Json) -> Json:
    marks = {name: value for name, value in tool.items() if name not in ("name", "description", "type", _SCHEMA)}
    function = {name: tool[name] for name in ("name", "description") if name in tool}
    return {"type": "function", "function": {**function, "parameters": tool[_SCHEMA]}, **marks}


def _own_messages(message: Json) -> Iterator[Json]:
    """Yield the results in ``message`` as messages of their own, then the rest of it."""
    content: Any = message.get("content")
    calls = [_own_call(part) for part in as_objects(content) if part.get("type") == "tool_use"]
    results = [part for part in as_objects(content) if part.get("type") == "tool_result"]
    for result in results:
        yield {"role": "tool", "tool_call_id": result.get("tool_use_id"), "content": result.get("content") or ""}
    if not calls and not results:
        yield message
        return
    rest = [part for part in content if as_object(part).get("type") not in ("tool_use", "tool_result")]
    if calls:
        yield {**message, "content": rest or None, "tool_calls": [*as_objects(message.get("tool_calls")), *calls]}
    elif rest:
        yield {**message, "content": rest}


def _own_call(part: Json) -> Json:
    arguments = msgspec.json.encode(part.get("input", {})).decode()
    return {"id": part.get("id"), "type": "function", "function": {"name": part.get("name"), "arguments": arguments}}
