"""The blocks of a request as a provider's cache compares them: the bytes of each as sent, without cache marks."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

Raw = dict[str, msgspec.Raw]

_MARK: Final = re.compile(rb',"(?:cache_control|prompt_cache_breakpoint)":\{[^{}]*\}')
_HINTS: Final = (b"Answer with a single JSON object", b"Answer with JSON that", b"Answer with one JSON object")
"""The beginnings of instructions that depend on the format of one request."""


def sent_blocks(api: str, body: bytes) -> list[bytes]:
    """Return the blocks in the provider's order: tools, system, messages; each with its section or role."""
    return [block for block in _READERS[api](msgspec.json.decode(body, type=Raw)) if not _is_hint(block)]


def content_forms(api: str, body: bytes) -> list[bytes]:
    """Return the first byte of the content of each message and tool's output: of a text or of a list."""
    name, member = {"chat": ("messages", "content"), "messages": ("messages", "content")}.get(api, ("input", "output"))
    items = map(_object, _raws(msgspec.json.decode(body, type=Raw).get(name)))
    return [bytes(item[member])[:1] for item in items if member in item]


def hints(api: str, body: bytes) -> list[int]:
    """Return the positions of blocks that describe the requested format, counted from the end (-1 is the last)."""
    blocks = list(_READERS[api](msgspec.json.decode(body, type=Raw)))
    return [at - len(blocks) for at, block in enumerate(blocks) if _is_hint(block)]


def _is_hint(block: bytes) -> bool:
    return any(hint in block for hint in _HINTS)


def _block(place: str, raw: bytes) -> bytes:
    return place.encode() + b" " + _MARK.sub(b"", raw)


def _raws(value: bytes | None) -> list[bytes]:
    return [bytes(one) for one in msgspec.json.decode(value or b"[]", type=list[msgspec.Raw])]


def _object(value: bytes | None) -> Raw:
    return msgspec.json.decode(value or b"{}", type=Raw)


def _contents(place: str, value: bytes | None) -> Iterator[bytes]:
    """Yield the blocks of a content. A text is short for a list with that text (Anthropic's API reference)."""
    if value is not None and bytes(value)[:1] == b'"':
        yield _block(place, b'{"type":"text","text":%b}' % bytes(value))
        return
    for raw in _raws(value):
        if not raw.startswith(b'{"cachePoint"'):
            yield _block(place, raw)


def _with_list(raw: bytes, member: str, type: bytes) -> bytes:
    """Return an object whose ``member``, if it is a text, is a list with that text."""
    members = _object(raw)
    if bytes(members.get(member, b""))[:1] != b'"':
        return raw
    members[member] = msgspec.Raw(b'[{"type":"%b","text":%b}]' % (type, bytes(members[member])))
    return msgspec.json.encode(members)


def _chat(body: Raw) -> Iterator[bytes]:
    yield from _contents("tools", body.get("tools"))
    for message in _raws(body["messages"]):
        yield _block("message", _with_list(message, "content", b"text"))


def _messages(body: Raw) -> Iterator[bytes]:
    yield from _contents("tools", body.get("tools"))
    yield from _contents("system", body.get("system"))
    for message in map(_object, _raws(body["messages"])):
        yield from _contents(bytes(message["role"]).decode(), message["content"])


def _responses(body: Raw) -> Iterator[bytes]:
    yield from _contents("tools", body.get("tools"))
    if "instructions" in body:
        yield _block("system", bytes(body["instructions"]))
    for item in _raws(body.get("input")):
        yield _block("item", _with_list(item, "output", b"input_text"))


def _gemini(body: Raw) -> Iterator[bytes]:
    yield from _contents("tools", body.get("tools"))
    yield from _contents("system", _object(body.get("systemInstruction")).get("parts"))
    for content in map(_object, _raws(body["contents"])):
        yield from _contents(bytes(content["role"]).decode(), content["parts"])


def _converse(body: Raw) -> Iterator[bytes]:
    yield from _contents("tools", _object(body.get("toolConfig")).get("tools"))
    yield from _contents("system", body.get("system"))
    for message in map(_object, _raws(body["messages"])):
        yield from _contents(bytes(message["role"]).decode(), message["content"])


def _interactions(body: Raw) -> Iterator[bytes]:
    yield from _contents("tools", body.get("tools"))
    if "system_instruction" in body:
        yield _block("system", bytes(body["system_instruction"]))
    for step in _raws(body["input"]):
        members = _object(step)
        if bytes(members["type"]) in (b'"user_input"', b'"model_output"'):
            yield from _contents(bytes(members["type"]).decode(), members["content"])
        else:
            yield _block("step", step)


_READERS: Final[Mapping[str, Callable[[Raw], Iterator[bytes]]]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "gemini": _gemini,
    "converse": _converse,
    "interactions": _interactions,
}
