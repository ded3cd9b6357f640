"""The words of a rejection in providers' messages, and changes of members and lists of a body, for a server that
rejects the client's."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from providers.errors.member_paths import Path

Change: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]
"""A function that returns the changed members of a body, ``{}`` if nothing changes."""

NEVER: Final = r"(?!)"
"""A pattern that matches no message."""


@attrs.frozen(repr=False)
class Words:
    """The words of one rejection, as patterns: of a part of any message, and of a whole one, which quotes no client.

    The first error compiles them."""

    part: str
    alone: str

    @classmethod
    def of(cls, sentences: str, before: str = "", after: str = r"\.?") -> "Words":
        """Return the words of ``sentences``, alternatives of a pattern. A whole message may have the others around."""
        return cls(sentences, f"{before}(?:{sentences}){after}")

    @classmethod
    def of_value(cls, sentences: str) -> "Words":
        """Return words that never are a whole message: the gateway forgets them, as other values may be accepted."""
        return cls(sentences, NEVER)

    def __or__(self, other: "Words") -> "Words":
        return Words(f"{self.part}|{other.part}", f"{self.alone}|{other.alone}")

    def matches_in(self, message: str) -> Iterator[re.Match[str]]:
        """Return the matches of these words in a provider's ``message``."""
        return re.finditer(self.part, message)

    def match_whole(self, message: str) -> re.Match[str] | None:
        """Return the match of the whole ``message``, ``None`` if it has other words."""
        return re.fullmatch(self.alone, message)

    def are_in(self, message: str) -> bool:
        """Return whether a provider's ``message`` has these words."""
        return re.search(self.part, message) is not None


def change_list(body: Mapping[str, Any], member: str, change: Callable[[list[Any]], list[Any]]) -> dict[str, list[Any]]:
    """Return the list ``member`` of ``body`` after ``change``; ``{}`` if there is no list, or nothing changes."""
    items = body.get(member)
    return {member: changed} if isinstance(items, list) and (changed := change(items)) != items else {}


def change_items(body: Mapping[str, Any], member: str, change: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """Return the list ``member`` of ``body`` after ``change`` of each item; ``{}`` if there is no list, or nothing
    changes."""
    return change_list(body, member, lambda items: [change(item) for item in items])


def change_members(body: Mapping[str, Any], paths: Iterable[Path], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the members of ``body`` after ``change`` of the values at ``paths``, each of one name or two; ``{}`` if
    nothing changes.

    ``change`` returns ``None`` to remove a value. A member that has nothing else is removed with it."""
    changed: dict[str, Any] = {}
    for name, *inner in paths:
        value = body.get(name)
        if not inner:
            if value is not None and (new := change(value)) != value:
                changed[name] = new
        elif isinstance(value, dict) and (new := change(value.get(inner[0]))) != value.get(inner[0]):
            rest = value | {inner[0]: new}
            changed[name] = {key: one for key, one in rest.items() if key != inner[0] or new is not None} or None
    return changed


def omit(*paths: Path) -> Change:
    """Return a function that returns the changed members of a body without the values at ``paths``."""
    return lambda body: change_members(body, paths, lambda value: None)
