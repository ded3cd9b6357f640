"""Members that an operator added and that a model refuses, and requests within the body of another one.

The quirks of Messages and Converse leave a client's own values, because a rejection is the client's to see. An
operator's value must not make requests fail that work without it. A count of tokens in Gemini and Converse contains the
request to count.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from providers.catalog.effort import accepts_sampling_with
from providers.members.editing import CLAUDE_THINKING, AppliedChanges, PlacedMember
from providers.members.names import BUDGET, EFFORT, Wire, read_member
from providers.members.raw_paths import Path, change_member, change_members, encode, has_member, remove_members
from providers.messages.settings import NO_SAMPLING_SINCE
from providers.neutral.draft import Draft, Edit
from providers.neutral.fields import parse_json
from providers.neutral.quirks import Quirks
from providers.neutral.values import as_object

T = TypeVar("T")

_WRAPPERS: Final[Mapping[Wire, tuple[Path, ...]]] = {
    "gemini": (("generateContentRequest",), ("generate_content_request",)),
    "converse": (("input", "converse"),),
}


def edit_contents(draft: Draft, wire: Wire, edit: Callable[[Draft], T]) -> T:
    """Apply ``edit`` to a request in the format ``wire``, or to the request within it, and return the result.

    Raises ``GatewayError`` (400) for invalid JSON text.
    """
    for path in _WRAPPERS.get(wire, ()):
        if path[0] in draft and has_member(draft, path):
            found: list[T] = []

            def change(raw: msgspec.Raw | None, found: list[T] = found) -> msgspec.Raw | None:
                if raw is None or bytes(memoryview(raw)[:1]) != b"{":
                    return raw
                inner = Draft.of(bytes(raw))
                found.append(edit(inner))
                return msgspec.Raw(inner.encode()) if inner.changed else raw

            change_member(draft, path, change)
            if found:
                return found[0]
    return edit(draft)


_SAMPLING: Final = ("temperature", "top_p", "top_k")
_MOST: Final = 1
"""The highest temperature of these APIs."""


def drop_refused(draft: Draft, wire: Wire, quirks: Quirks, added: Iterable[PlacedMember]) -> AppliedChanges:
    """Remove those of the members ``added`` by the operator that the model refuses, and lower a high temperature."""
    if wire not in CLAUDE_THINKING:
        return AppliedChanges()
    edits = [edit for one in added if (edit := _check_member(draft, wire, quirks, one)) is not None]
    return AppliedChanges(tuple(edits))


def drop_unsent(draft: Draft, sent: Draft, placed: Iterable[PlacedMember]) -> None:
    """Remove the operator's members ``placed`` that ``sent``, the copy for the provider, no longer contains.

    ``sent`` was ``draft`` before. The client's own members stay.
    """
    for one in placed:
        for path in one.member.paths_in(one.wire):
            if has_member(draft, path) and not has_member(sent, path):
                change_member(draft, path, lambda raw: None)


def remove_placed(draft: Draft, placed: Iterable[PlacedMember]) -> None:
    for one in placed:
        remove_members(draft, one.member.paths_in(one.wire))


def _check_member(draft: Draft, wire: Wire, quirks: Quirks, placed: PlacedMember) -> Edit | None:
    member = placed.member
    if member.neutral in _SAMPLING:
        if not _accepts_sampling(draft, wire, quirks):
            return _drop_member(draft, wire, placed)
        if member.neutral == "temperature" and change_members(draft, member.paths_in(wire), _lower_temperature):
            return Edit(member.shown, lost=False, form=f"={_MOST}", why="operator")
    if member.neutral == BUDGET and placed.is_default and not _accepts_sampling(draft, wire, quirks):
        own = (one for name in _SAMPLING for one in read_member(name, "drop").paths_in(wire))
        if any(has_member(draft, path) for path in own):  # the client's sampling settings exclude thinking
            remove_members(draft, [CLAUDE_THINKING[wire]])
            return Edit(member.shown, why="operator")
    if member.neutral == EFFORT and not (quirks.adaptive_thinking or quirks.efforts):
        return _drop_member(draft, wire, placed)
    return None


def _drop_member(draft: Draft, wire: Wire, placed: PlacedMember) -> Edit | None:
    member = placed.member
    found = change_members(draft, member.paths_in(wire), lambda raw: None)
    return Edit(member.shown, why=placed.why_lost) if found else None


def _lower_temperature(raw: msgspec.Raw | None) -> msgspec.Raw | None:
    value: Any = None if raw is None else parse_json(raw, Any)
    return encode(_MOST) if isinstance(value, int | float) and value > _MOST else raw


def _accepts_sampling(draft: Draft, wire: Wire, quirks: Quirks) -> bool:
    if wire == "messages" and quirks.anthropic_version >= NO_SAMPLING_SINCE:
        return False
    head, *inner = CLAUDE_THINKING[wire]
    thinking = as_object(draft.value(head))
    for name in inner:
        thinking = as_object(thinking.get(name))
    return accepts_sampling_with(thinking, None, quirks)
