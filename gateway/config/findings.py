"""Findings about a configuration: errors, and warnings about valid settings."""

from collections.abc import Collection, Mapping
from typing import TypeVar

import attrs

from configfile.document import Document, Mistake, Path, spell
from providers.neutral.fields import generic_path

T = TypeVar("T", bound=attrs.AttrsInstance)


class Findings:
    """The findings in one file.

    ``faulty`` has the paths (at most two steps) of values with the wrong type, which are reported and dropped.
    ``given`` has the attributes in the file by the path of their mapping."""

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

    def given_attributes(self, path: Path) -> frozenset[str]:
        """Return the attributes that the mapping at ``path`` has in the file."""
        return self._given.get(path, frozenset())

    def laid_over(self, base: T, value: T, path: Path) -> T:
        """Return ``base`` with the attributes of ``value`` that the file has at ``path``."""
        return attrs.evolve(base, **{name: getattr(value, name) for name in self.given_attributes(path)})  # type: ignore[misc]

    def is_list(self, path: Path) -> bool:
        """Return whether the file has a list at ``path``."""
        return isinstance(self._read.at(path), list)

    def first(self, what: str) -> bool:
        """Return whether ``what`` was not reported before: some findings concern several entries."""
        new = what not in self._said
        self._said.add(what)
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
