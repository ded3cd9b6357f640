"""Requests within the body of another one: a count of tokens in Gemini and Converse contains the request to count."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from providers.members.names import Wire
from providers.members.raw_paths import Path, change_member, has_member
from providers.neutral.draft import Draft

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
