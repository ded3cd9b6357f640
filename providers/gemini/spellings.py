"""Access to a request's members in both spellings of Protocol Buffers' JSON (``inlineData`` and ``inline_data``), which
may be mixed."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Self, TypeVar

from providers.neutral.api_members import to_snake
from providers.neutral.fields import Fields, expect, join_path

T = TypeVar("T")

_UNDERSCORE = re.compile(r"_([a-z])")


snake: Final[Callable[[str], str]] = lru_cache(maxsize=512)(to_snake)
"""Returns a name of the API's reference in snake case. It is remembered, and a client's may have megabytes."""


def camel(name: str) -> str:
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


def spelling_in(data: Any, name: str) -> str:
    """Return ``name`` as ``data`` spells it; camel case if both exist."""
    return name if name in data or (other := snake(name)) not in data else other


def find_member(holder: Any, name: str) -> Any:
    """Return the member ``name`` in either spelling (``safetySettings``, ``safety_settings``)."""
    if not isinstance(holder, Mapping):
        return None
    value = holder.get(name)
    return value if value is not None else holder.get(snake(name))


class GeminiFields(Fields):
    """A JSON object of a request, read by the member names of the API's reference."""

    __slots__ = ()

    def _read_member(self, name: str, kind: type[T]) -> T | None:
        return super()._read_member(spelling_in(self.data, name), kind)

    def value(self, name: str) -> Any:
        return super().value(spelling_in(self.data, name))

    def path(self, name: str) -> str:
        return super().path(spelling_in(self.data, name))

    def word(self, name: str) -> str | None:
        """Return an enumeration value in capitals; programs also send lower case."""
        found = self.string(name)
        return None if found is None else found.upper()

    def elements(self, name: str) -> Iterator[Self]:
        """Yield the elements of an array of objects; a single object counts as one element, as in Google's examples."""
        value, at = self.value(name), self.path(name)
        if isinstance(value, dict):
            yield type(self)(value, at)
            return
        for i, item in enumerate(expect([] if value is None else value, list, at)):
            yield self.of(item, join_path(at, i))
