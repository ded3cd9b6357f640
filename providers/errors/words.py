"""The words of a rejection in providers' messages, and a body with other items in one of its lists, for a server that
rejects the client's."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

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

    def are_all_of(self, message: str) -> bool:
        """Return whether ``message`` has no other words."""
        return self.match_whole(message) is not None


def change_list(body: Mapping[str, Any], member: str, change: Callable[[list[Any]], list[Any]]) -> dict[str, list[Any]]:
    """Return the list ``member`` of ``body`` after ``change``; ``{}`` if there is no list, or nothing changes."""
    items = body.get(member)
    return {member: changed} if isinstance(items, list) and (changed := change(items)) != items else {}


def change_items(body: Mapping[str, Any], member: str, change: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """Return the list ``member`` of ``body`` after ``change`` of each item; ``{}`` if there is no list, or nothing
    changes."""
    return change_list(body, member, lambda items: [change(item) for item in items])
