"""Cache marks that the gateway adds to requests without any: at the ends of tools, instructions and messages.

A provider with marks reads a cached prefix only up to a mark, or to one of the 20 positions before it
(https://platform.claude.com/docs/en/build-with-claude/prompt-caching)."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from providers.converse.families import FAMILIES, Place
from providers.neutral.draft import Draft
from providers.neutral.quirks import Quirks
from providers.neutral.values import as_string
from streams.events import Api

Lifetime: TypeAlias = Literal["5m", "1h"]
"""How long the provider keeps the prefix after its last use."""

Places: TypeAlias = tuple[Place, ...]
ALL_PLACES: Final[Places] = ("tools", "system", "messages")

TOP_LEVEL: Final = "cache_control"
"""The member of a Messages request that marks its last block."""

_REACH: Final = 15
"""Positions after which the earlier boundary gets a mark of its own, because providers look back 20."""

_SHORTEST: Final[Lifetime] = "5m"  # the default, which is not written
_NOT_MARKED: Final = frozenset(("thinking", "redacted_thinking"))
_RUNS: Final = frozenset(("tool_use", "tool_result", "toolUse", "toolResult"))

_Block: TypeAlias = dict[str, Any]
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()


@attrs.frozen(repr=False)
class MarkForm:
    """The form of marks in one API.

    ``present`` finds a mark in a body. ``mark`` returns blocks whose end is marked, ``None`` if none of them can be."""

    present: "re.Pattern[bytes]"
    mark: Callable[[Sequence[_Block], Lifetime], list[_Block] | None]
    tools_within: str | None = None
    """The member with the tools, unless they are at the top level."""
    has_whole_mark: bool = False
    """True if a member at the top level marks the last block."""


def has_cache_marks(api: Api, body: bytes) -> bool:
    """Return whether the request ``body`` in ``api`` has a mark, or a member of that name anywhere."""
    form = FORMS.get(api)
    return form is not None and form.present.search(body) is not None


def marks_whole_requests(api: Api) -> bool:
    """Return whether ``api`` has a member that marks the last block of a request."""
    return api in FORMS and FORMS[api].has_whole_mark


def permitted_places(api: Api, quirks: Quirks) -> Places:
    """Return the places where a model with ``quirks`` takes marks in ``api``."""
    if api not in FORMS:
        return ()
    return FAMILIES[quirks.bedrock_family].cached if api == "converse" else ALL_PLACES


def has_answers(api: Api, body: bytes) -> bool:
    """Return whether the request has an earlier answer of the model."""
    return api in FORMS and _ASSISTANT.search(body) is not None


def add_cache_marks(
    api: Api, body: bytes, lifetime: Lifetime, places: Collection[Place] = ALL_PLACES
) -> tuple[bytes, int]:
    """Return the request ``body`` with at most four marks at ``places``, and their number.

    All other members keep their order and bytes. ``body`` is one that the gateway has written."""
    form = FORMS.get(api)
    if form is None:
        return body, 0
    draft = Draft.of(body)
    added = 0
    if "tools" in places:
        added += _mark_tools(draft, form, lifetime)
    if "system" in places:
        added += _mark_system(draft, form, lifetime)
    if "messages" in places:
        added += _mark_messages(draft, form, lifetime)
    return (draft.encode(), added) if added else (body, 0)


def add_top_level_mark(body: bytes, lifetime: Lifetime) -> bytes:
    """Return the Messages request ``body`` with a mark on its last block, as its last member."""
    draft = Draft.of(body)
    draft.put(TOP_LEVEL, _control(lifetime))
    return draft.encode()


def _mark_tools(draft: Draft, form: MarkForm, lifetime: Lifetime) -> int:
    holder = draft.value(form.tools_within) if form.tools_within is not None else {"tools": draft.value("tools")}
    tools = holder.get("tools") if isinstance(holder, dict) else None
    if not isinstance(tools, list) or not tools:
        return 0
    loaded = max((at for at, tool in enumerate(tools) if not tool.get("defer_loading")), default=None)
    if loaded is None or (marked := form.mark(tools[: loaded + 1], lifetime)) is None:
        return 0
    marked += tools[loaded + 1 :]
    if form.tools_within is None:
        draft.put("tools", marked)
    else:
        draft.put(form.tools_within, {**holder, "tools": marked})
    return 1


def _mark_system(draft: Draft, form: MarkForm, lifetime: Lifetime) -> int:
    marked = form.mark(_as_blocks(draft.value("system")), lifetime)
    if marked is None:
        return 0
    draft.put("system", marked)
    return 1


def _mark_messages(draft: Draft, form: MarkForm, lifetime: Lifetime) -> int:
    """Mark the end of the user's last message, and of the one before the last answer if it is far away.

    A mark turns a text into a list. So the user's other texts become lists too: the marked message has the same form in
    the next turn, in which another one is marked. It is disputed whether providers treat both forms alike."""
    raw = draft.raw("messages")
    if raw is None:
        return 0
    messages = _LIST.decode(raw)
    changed: dict[int, Mapping[str, Any]] = {}
    positions, answered = 0, False
    for at in range(len(messages) - 1, -1, -1):
        message = _MEMBERS.decode(messages[at])
        blocks = _as_blocks(_ANY.decode(message["content"]))
        if bytes(message["role"]) == b'"assistant"':
            answered = answered or bool(changed)
        elif not changed:
            if (marked := form.mark(blocks, lifetime)) is not None:
                changed[at] = {**message, "content": marked}
        elif answered:
            if positions >= _REACH and (marked := form.mark(blocks, lifetime)) is not None:
                changed[at] = {**message, "content": marked}
            break
        positions += _positions(blocks) if changed else 0
    number = len(changed)
    if number:
        draft.put_items("messages", {**_texts_as_lists(messages, changed), **changed})
    return number


def _texts_as_lists(
    messages: Sequence[msgspec.Raw], changed: Mapping[int, Mapping[str, Any]]
) -> dict[int, Mapping[str, Any]]:
    """Return the other messages of the user whose content is a text, with lists."""
    found: dict[int, Mapping[str, Any]] = {}
    for at, raw in enumerate(messages):
        message = _MEMBERS.decode(raw)
        content = bytes(message["content"]) if at not in changed and bytes(message["role"]) == b'"user"' else b""
        if content.startswith(b'"') and (blocks := _as_blocks(_ANY.decode(content))):
            found[at] = {**message, "content": blocks}
    return found


def _positions(blocks: Sequence[_Block]) -> int:
    """Return how many positions ``blocks`` take in the provider's lookup: a run of calls or of results takes one."""
    kinds = [as_string(block.get("type")) or next(iter(block), "") for block in blocks]
    return sum(1 for at, kind in enumerate(kinds) if at == 0 or kind not in _RUNS or kinds[at - 1] != kind)


def _as_blocks(content: Any) -> list[_Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content if isinstance(content, list) else []


def _control(lifetime: Lifetime) -> dict[str, str]:
    return {"type": "ephemeral"} if lifetime == _SHORTEST else {"type": "ephemeral", "ttl": lifetime}


def _mark_last_block(blocks: Sequence[_Block], lifetime: Lifetime) -> list[_Block] | None:
    """Return ``blocks`` with Anthropic's mark on the last one that takes it."""
    for at in range(len(blocks) - 1, -1, -1):
        block = blocks[at]
        if block.get("type") not in _NOT_MARKED and block.get("text") != "":
            return [*blocks[:at], {**block, TOP_LEVEL: _control(lifetime)}, *blocks[at + 1 :]]
    return None


def _append_point(blocks: Sequence[_Block], lifetime: Lifetime) -> list[_Block] | None:
    """Return ``blocks`` with a cache point at their end, Converse's mark."""
    if not blocks or "reasoningContent" in blocks[-1]:
        return None
    point = {"type": "default"} if lifetime == _SHORTEST else {"type": "default", "ttl": lifetime}
    return [*blocks, {"cachePoint": point}]


_ASSISTANT: Final = re.compile(rb'"role"\s*:\s*"assistant"')

FORMS: Final[Mapping[Api, MarkForm]] = {
    "messages": MarkForm(re.compile(rb'"cache_control"\s*:'), _mark_last_block, has_whole_mark=True),
    "converse": MarkForm(re.compile(rb'"cachePoint"\s*:'), _append_point, "toolConfig"),
}
"""The APIs that have marks."""
