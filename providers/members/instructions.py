"""The operator's instructions around those of the client, in each API. Blocks of the client keep their cache marks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from providers.gemini.spellings import spelling_in
from providers.members.raw_paths import encode, is_absent
from providers.messages.adapting import strip_billing_line
from providers.neutral.draft import Draft
from providers.neutral.fields import parse_json

_Texts: TypeAlias = tuple[str, ...]

_INSTRUCTIONS: Final = ("system", "developer")
_BETWEEN: Final = "\n\n"


def add_instructions(draft: Draft, api: str, before: _Texts, after: _Texts) -> None:
    """Put the texts ``before`` and ``after`` around the client's instructions.

    Raises ``GatewayError`` (400) for invalid JSON text.
    """
    _WRITERS[api](draft, before, after)


def _add_messages(draft: Draft, before: _Texts, after: _Texts) -> None:
    """Add Chat messages, in the role that the client's instructions have."""
    messages = _parse_items(draft.raw("messages"))
    roles = [_instruction_role(message) for message in messages]
    places = [index for index, role in enumerate(roles) if role in _INSTRUCTIONS]
    role = roles[places[0]] if places else "system"
    end = places[-1] + 1 if places else 0
    added = [[encode({"role": role, "content": text}) for text in texts] for texts in (before, after)]
    draft.put("messages", encode([*added[0], *messages[:end], *added[1], *messages[end:]]))


def _instruction_role(message: msgspec.Raw) -> str | None:
    if bytes(memoryview(message)[:1]) != b"{":
        return None
    role = parse_json(message, dict[str, msgspec.Raw]).get("role")
    return next((word for word in _INSTRUCTIONS if role is not None and bytes(role) == f'"{word}"'.encode()), None)


def _add_system(draft: Draft, before: _Texts, after: _Texts) -> None:
    """Add Messages blocks. Claude Code's billing line stays first, where it is recognised."""
    raw = draft.raw("system")
    if raw is not None and bytes(memoryview(raw)[:1]) == b'"':
        blocks = [encode({"type": "text", "text": text})] if (text := parse_json(raw, str)) else []
    else:
        blocks = _parse_items(raw)
        if not (blocks or is_absent(raw) or raw == b"[]"):
            return  # the provider rejects it
    start = 1 if blocks and _is_billing_line(blocks[0]) else 0
    added = [[encode({"type": "text", "text": text}) for text in texts] for texts in (before, after)]
    draft.put("system", encode([*blocks[:start], *added[0], *blocks[start:], *added[1]]))


def _is_billing_line(block: msgspec.Raw) -> bool:
    members = parse_json(block, Any)
    text = members.get("text") if isinstance(members, dict) else None
    return isinstance(text, str) and strip_billing_line(text) == ""


def _add_text(draft: Draft, before: _Texts, after: _Texts, member: str = "instructions") -> None:
    """Add to the ``member`` with instructions, which is one text."""
    own = draft.value(member)
    texts = (*before, own, *after) if isinstance(own, str) and own else (*before, *after)
    draft.put(member, _BETWEEN.join(texts))


def _add_parts(draft: Draft, before: _Texts, after: _Texts) -> None:
    """Add parts to Gemini's ``systemInstruction``, which clients also send as a text."""
    name = spelling_in(draft, "systemInstruction")
    raw = draft.raw(name)
    members: dict[str, Any] = {}
    if raw is not None and bytes(memoryview(raw)[:1]) == b'"':
        parts: list[Any] = [{"text": text}] if (text := parse_json(raw, str)) else []
    elif raw is None or is_absent(raw):
        parts = []
    else:
        members = parse_json(raw, dict[str, Any])
        own = members.get("parts")
        parts = [own] if isinstance(own, dict) else own if isinstance(own, list) else []
    added = [[{"text": text} for text in texts] for texts in (before, after)]
    draft.put(name, encode({**members, "parts": [*added[0], *parts, *added[1]]}))


def _add_blocks(draft: Draft, before: _Texts, after: _Texts) -> None:
    """Add Converse blocks."""
    raw = draft.raw("system")
    blocks = _parse_items(raw)
    if not (blocks or is_absent(raw) or raw == b"[]"):
        return  # the provider rejects it
    added = [[encode({"text": text}) for text in texts] for texts in (before, after)]
    draft.put("system", encode([*added[0], *blocks, *added[1]]))


def _parse_items(raw: msgspec.Raw | None) -> list[msgspec.Raw]:
    if raw is None or bytes(memoryview(raw)[:1]) != b"[":
        return []
    return parse_json(raw, list[msgspec.Raw])


_WRITERS: Final[Mapping[str, Callable[[Draft, _Texts, _Texts], None]]] = {
    "chat": _add_messages,
    "messages": _add_system,
    "responses": _add_text,
    "gemini": _add_parts,
    "converse": _add_blocks,
    "interactions": partial(_add_text, member="system_instruction"),
}
