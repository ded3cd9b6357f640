"""Findings about a configuration: mistakes, and what its author should know though it is good."""

from collections.abc import Collection, Mapping
from typing import TypeVar

import attrs

from configfile.document import Document, Mistake, Path, spell
from providers.neutral.fields import generic

T = TypeVar("T", bound=attrs.AttrsInstance)


class Findings:
    """The findings in one file. ``faulty`` are the places, two steps deep at most, that its shape was wrong in: what
    was there is reported already, and is gone. ``given`` are the attributes that the file gives, by the places of their
    mappings."""

    def __init__(
        self, read: Document, mistakes: list[Mistake], faulty: Collection[Path], given: Mapping[Path, frozenset[str]]
    ) -> None:
        self._read = read
        self.mistakes = mistakes
        self.faulty = faulty
        self._given = given
        self.ineffective: list[Mistake] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self._said: set[str] = set()

    def given(self, path: Path) -> frozenset[str]:
        """Return the attributes that the mapping at ``path`` gives."""
        return self._given.get(path, frozenset())

    def laid_over(self, base: T, value: T, path: Path) -> T:
        """Return ``base`` with what the file gives of ``value``, which is at ``path``."""
        return attrs.evolve(base, **{name: getattr(value, name) for name in self.given(path)})  # type: ignore[misc]

    def is_list(self, path: Path) -> bool:
        """True if the file has a list at ``path``."""
        return isinstance(self._read.at(path), list)

    def first(self, what: str) -> bool:
        """True if ``what`` comes up for the first time: some things hold for several entries, and are said once."""
        new = what not in self._said
        self._said.add(what)
        return new

    def wrong(self, path: Path, found: str, expected: str, suggestion: str | None = None) -> None:
        self.mistakes.append(self._read.mistake(path, found, expected, suggestion))

    def no_effect(self, path: Path, why: str) -> None:
        """A setting that is accepted and changes nothing: a warning, and a mistake for those who ask for it."""
        self.ineffective.append(self._read.mistake(path, why, ""))
        self.warn(f"{generic(spell(path))}: {why}")

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
