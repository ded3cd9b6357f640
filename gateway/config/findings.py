"""What is found while a configuration is put together: mistakes, and what its author should know though it is good."""

from collections.abc import Collection

from gateway.config.document import Document, Mistake, Path


class Findings:
    """The findings in one file. ``faulty`` are the places, two steps deep at most, that its shape was wrong in: what
    was there is reported already, and is gone."""

    def __init__(self, read: Document, mistakes: list[Mistake], faulty: Collection[Path]) -> None:
        self._read = read
        self.mistakes = mistakes
        self.faulty = faulty
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def wrong(self, path: Path, found: str, expected: str, suggestion: str | None = None) -> None:
        self.mistakes.append(self._read.mistake(path, found, expected, suggestion))

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
