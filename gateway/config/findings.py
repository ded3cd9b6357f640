"""Findings about a configuration: errors, and warnings about valid settings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import attrs

from configfile.document import Document, Mistake, Path, spell
from configfile.keys import evolve
from configfile.wording import UNKNOWN_KEY, nearest
from providers.neutral.fields import generic_path

if TYPE_CHECKING:
    from configfile.reading import ReadingFault

S = TypeVar("S")
T = TypeVar("T", bound=attrs.AttrsInstance)


class Findings:
    """The findings in one file.

    ``faults`` are those of the reading, and ``unknown`` the places of variables without a value. ``faulty`` has these
    places, and those of the mappings and lists around them.
    ``given`` has the attributes in the file by the path of their mapping."""

    def __init__(
        self,
        read: Document,
        mistakes: list[Mistake],
        faults: "Sequence[ReadingFault]",
        given: Mapping[Path, frozenset[str]],
        unknown: Sequence[Path] = (),
    ) -> None:
        self._read = read
        self.mistakes = mistakes
        places = (*(fault.path for fault in faults), *unknown)
        self.faulty = frozenset(place[:length] for place in places for length in range(1, len(place) + 1))
        self._unknown = tuple(fault.path for fault in faults if fault.wrong.found == UNKNOWN_KEY)
        self._attributes_in_file = given
        self.ineffective: list[Mistake] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self._reported: set[str] = set()

    def given_attributes(self, path: Path) -> frozenset[str]:
        """Return the attributes that the mapping at ``path`` has in the file."""
        return self._attributes_in_file.get(path, frozenset())

    def laid_over(self, base: T, value: T, path: Path) -> T:
        """Return ``base`` with the attributes of ``value`` that the file has at ``path``, and with its parts."""
        names = attrs.fields_dict(type(base)).keys() & {*self.given_attributes(path), "parts"}
        return evolve(base, **{name: getattr(value, name) for name in names})

    def present_items(self, items: Sequence[S | None], path: Path, advice: str) -> Iterator[tuple[Path, S]]:
        """Yield the ``items`` of the list at ``path`` with their paths, and report empty ones with ``advice``."""
        for i, item in enumerate(items):
            place = (*path, i)
            if item is not None:
                yield place, item
            elif place not in self.faulty:
                self.wrong(place, "this item is empty", advice)

    def is_list(self, path: Path) -> bool:
        """Return whether the file has a list at ``path``."""
        return isinstance(self._read.at(path), list)

    def is_faulty(self, path: Path, keys: Iterable[str]) -> bool:
        """Return whether one of ``keys`` at ``path`` was probably meant: its value was reported and dropped, or an
        unknown key is reported there. The root has many keys, so there the unknown key must be similar."""
        keys = tuple(keys)
        unknown = (str(place[-1]) for place in self._unknown if place[:-1] == path)
        return any((*path, key) in self.faulty for key in keys) or any(path or nearest(one, keys) for one in unknown)

    def names_in(self, key: str) -> frozenset[str]:
        """Return the file's names in the mapping ``key`` of the root, also those whose values were dropped."""
        found = self._read.at((key,))
        return frozenset(found) if isinstance(found, dict) else frozenset()

    def texts_of_dropped(self, key: str, items: Sequence[object]) -> frozenset[str]:
        """Return the texts in the file's items of the list ``key`` that are ``None`` in ``items``: one may be the name
        of such an item."""
        dropped = (self._read.at((key, i)) for i, item in enumerate(items) if item is None)
        return frozenset(text for one in dropped for text in _texts_in(one))

    def first(self, what: str) -> bool:
        """Return whether ``what`` was not reported before: some findings concern several entries."""
        new = what not in self._reported
        self._reported.add(what)
        return new

    def mistake(self, path: Path, found: str, expected: str) -> Mistake:
        """Return a mistake at ``path`` without reporting it, for checks that follow the reading."""
        return self._read.mistake(path, found, expected)

    def wrong(self, path: Path, found: str, expected: str, suggestion: str | None = None) -> None:
        self.mistakes.append(self._read.mistake(path, found, expected, suggestion))

    def no_effect(self, path: Path, why: str) -> None:
        """Report a setting without effect: a warning, and in strict checks an error."""
        self.ineffective.append(self._read.mistake(path, why, ""))
        self.warn(f"{generic_path(spell(path))}: {why}")

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


def _texts_in(item: object) -> Iterator[str]:
    members = item.values() if isinstance(item, dict) else (item,)
    yield from (member for member in members if isinstance(member, str))
