"""Reads a request's prompt as its provider's cache does: blocks in the order tools, system, messages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from providers.neutral.values import as_objects
from streams.events import Api

Section: TypeAlias = Literal["tools", "system", "messages"]
BlockKind: TypeAlias = Literal["call", "result", "reasoning", "other"]

DEFAULT_LIFETIME: Final = "5m"
_MARKS: Final = ("cache_control", "prompt_cache_breakpoint")
_INSTRUCTIONS: Final = ("system", "developer")
_BILLING: Final = "x-anthropic-billing-header:"
"""The start of a text of Claude Code that Anthropic leaves out of the prompt (anthropics/claude-code#68900)."""


@attrs.frozen
class MockBlock:
    """A block of a prompt.

    ``text`` is its JSON without marks and white space. ``mark`` is the lifetime that a mark on it requests, ``None``
    without a mark. ``is_end`` marks the last block of a user's message or of a tool's output."""

    section: Section
    text: bytes
    role: str = ""
    kind: BlockKind = "other"
    mark: str | None = None
    is_end: bool = False


def read_blocks(api: Api, body: Mapping[str, Any]) -> list[MockBlock]:
    """Return the blocks of a request's prompt in the provider's order, without deferred tools."""
    return list(_READERS[api](body))


# Common parts


def _parts(content: Any) -> list[Any]:
    """Return the parts of a message's content; a text is a part with that text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def _without_marks(value: Any) -> tuple[Any, str | None]:
    """Return a block without its marks and those inside its content, and the lifetime of the last mark."""
    if not isinstance(value, dict):
        return value, None
    found: str | None = None
    rest: dict[str, Any] = {}
    for name, member in value.items():
        if name in _MARKS:
            if isinstance(member, dict):
                found = str(member.get("ttl") or DEFAULT_LIFETIME)
        elif name in ("content", "output") and isinstance(member, list):
            inner = [_without_marks(one) for one in member]
            rest[name] = [one for one, _ in inner]
            found = found or next((mark for _, mark in reversed(inner) if mark), None)
        else:
            rest[name] = member
    return rest, found


def _block(section: Section, head: Any, part: Any, **members: Any) -> MockBlock:
    rest, mark = _without_marks(part)
    members.setdefault("mark", mark)
    return MockBlock(section, msgspec.json.encode([head, rest]), **members)


def _message(
    message: Mapping[str, Any], parts: Sequence[Any], kind_of: Callable[[Any], BlockKind], is_end: bool,
    section: Section = "messages", names: Sequence[str] = ("content",),
) -> Iterator[MockBlock]:  # fmt: skip
    """Yield the blocks of a message; its other members belong to the first one."""
    role = message.get("role")
    role = role if isinstance(role, str) else ""
    head, mark = _without_marks({name: value for name, value in message.items() if name not in names})
    last = len(parts) - 1
    if last < 0 and len(head) > 1:
        yield MockBlock(section, msgspec.json.encode([head]), role, mark=mark, is_end=is_end)
    for at, part in enumerate(parts):
        block = _block(section, head if at == 0 else {"role": role}, part, role=role, kind=kind_of(part),
                       is_end=is_end and at == last)  # fmt: skip
        yield attrs.evolve(block, mark=block.mark or mark) if at == last else block


def _tools(value: Any) -> Iterator[MockBlock]:
    for tool in as_objects(value):
        if tool.get("defer_loading") is not True and not _is_web_search(tool):
            yield _block("tools", "tool", tool)


def web_searches(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return Anthropic's tools for web search, which change the instructions and not the tools."""
    return [tool for tool in as_objects(body.get("tools")) if _is_web_search(tool)]


def _is_web_search(tool: Mapping[str, Any]) -> bool:
    return str(tool.get("type")).startswith("web_search_")


# Each API


def _kind_in_messages(part: Any) -> BlockKind:
    type = part.get("type") if isinstance(part, dict) else None
    if type == "tool_use":
        return "call"
    return "result" if type == "tool_result" else "reasoning" if type in ("thinking", "redacted_thinking") else "other"


def _read_messages(body: Mapping[str, Any]) -> Iterator[MockBlock]:
    yield from _tools(body.get("tools"))
    for part in _parts(body.get("system")):
        if not (isinstance(part, dict) and str(part.get("text", "")).startswith(_BILLING)):
            yield _block("system", "system", part, role="system")
    for message in as_objects(body.get("messages")):
        is_end = message.get("role") == "user"
        yield from _message(message, _parts(message.get("content")), _kind_in_messages, is_end)


def _kind_by_member(**kinds: BlockKind) -> Callable[[Any], BlockKind]:
    """Return a function that returns the kind of a part by the first of its members in ``kinds``."""
    return lambda part: next((kinds[name] for name in kinds if isinstance(part, dict) and name in part), "other")


_kind_in_chat: Final = _kind_by_member(function="call")
_kind_in_converse: Final = _kind_by_member(toolUse="call", toolResult="result", reasoningContent="reasoning")
_kind_in_gemini: Final = _kind_by_member(functionCall="call", functionResponse="result")


def _read_chat(body: Mapping[str, Any]) -> Iterator[MockBlock]:
    yield from _tools(body.get("tools"))
    section: Section = "system"
    for message in as_objects(body.get("messages")):
        role = message.get("role")
        section = section if role in _INSTRUCTIONS else "messages"
        parts = [*_parts(message.get("content")), *_parts(message.get("tool_calls"))]
        kind_of: Callable[[Any], BlockKind] = (lambda _: "result") if role == "tool" else _kind_in_chat
        yield from _message(message, parts, kind_of, role in ("user", "tool"), section, names=("content", "tool_calls"))


def _read_responses(body: Mapping[str, Any]) -> Iterator[MockBlock]:
    yield from _tools(body.get("tools"))
    if isinstance(instructions := body.get("instructions"), str):
        yield _block("system", "system", instructions, role="system")
    value = body.get("input")
    items = [{"role": "user", "content": value}] if isinstance(value, str) else as_objects(value)
    section: Section = "system"
    for item in items:
        type = item.get("type", "message")
        section = section if item.get("role") in _INSTRUCTIONS else "messages"
        if type == "message":
            head = {name: value for name, value in item.items() if name != "type"}
            yield from _message(
                head, _parts(item.get("content")), lambda _: "other", item.get("role") == "user", section
            )
            continue
        kind: BlockKind = "reasoning" if type == "reasoning" else "other"
        if isinstance(type, str) and type.endswith(("_call", "_output")):
            kind = "result" if type.endswith("_output") else "call"
        yield _block("messages", "item", item, role="assistant", kind=kind, is_end=kind == "result")


def _points_as_marks(blocks: Sequence[Any]) -> list[Any]:
    """Return the blocks of Converse, in which each cache point is replaced by a mark on the block before it."""
    found: list[Any] = []
    for block in blocks:
        point = block.get("cachePoint") if isinstance(block, dict) else None
        if point is None:
            found.append(block)
        elif found and isinstance(found[-1], dict):
            found[-1] = {**found[-1], "cache_control": {"ttl": point.get("ttl") if isinstance(point, dict) else None}}
    return found


def _read_converse(body: Mapping[str, Any]) -> Iterator[MockBlock]:
    config = body.get("toolConfig")
    yield from _tools(_points_as_marks(as_objects(config.get("tools"))) if isinstance(config, dict) else None)
    for part in _points_as_marks(as_objects(body.get("system"))):
        yield _block("system", "system", part, role="system")
    for message in as_objects(body.get("messages")):
        is_end = message.get("role") == "user"
        yield from _message(message, _points_as_marks(_parts(message.get("content"))), _kind_in_converse, is_end)


def _read_gemini(body: Mapping[str, Any]) -> Iterator[MockBlock]:
    yield from _tools(body.get("tools"))
    system = body.get("systemInstruction", body.get("system_instruction"))
    for part in as_objects(system.get("parts")) if isinstance(system, dict) else ():
        yield _block("system", "system", part, role="system")
    for content in as_objects(body.get("contents")):
        is_end = content.get("role") != "model"
        yield from _message(content, _parts(content.get("parts")), _kind_in_gemini, is_end, names=("parts",))


def _kind_in_interactions(part: Any) -> BlockKind:
    type = str(part.get("type")) if isinstance(part, dict) else ""
    if type.endswith("_call"):
        return "call"
    return "result" if type.endswith("_result") else "reasoning" if type == "thought" else "other"


def _read_interactions(body: Mapping[str, Any]) -> Iterator[MockBlock]:
    yield from _tools(body.get("tools"))
    if isinstance(system := body.get("system_instruction"), str):
        yield _block("system", "system", {"text": system}, role="system")
    input = body.get("input")
    for step in as_objects([{"type": "text", "text": input}] if isinstance(input, str) else input):
        role = "user" if step.get("type") in ("user_input", "function_result", "text", "image", "document") else "model"
        parts = _parts(step.get("content")) if "content" in step else [step]
        for at, part in enumerate(parts):
            is_end = role == "user" and at == len(parts) - 1
            yield _block("messages", {"role": role}, part, role=role, kind=_kind_in_interactions(part), is_end=is_end)


_READERS: Final[Mapping[Api, Callable[[Mapping[str, Any]], Iterator[MockBlock]]]] = {
    "chat": _read_chat,
    "messages": _read_messages,
    "responses": _read_responses,
    "gemini": _read_gemini,
    "converse": _read_converse,
    "interactions": _read_interactions,
}
