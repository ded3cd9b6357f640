"""The mistakes of a file that is read line by line: the first are told, the others counted."""

from pathlib import Path
from typing import Final

from configfile.document import ConfigError, Mistake

TOLD: Final = 10


class LineMistakes:
    """What is wrong in the lines of ``file``."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._told: list[Mistake] = []
        self._lines = 0

    def add(self, line: int, found: str, expected: str) -> None:
        self._lines += 1
        if len(self._told) < TOLD:
            self._told.append(Mistake(self._file, "", found, expected, line))

    def check(self) -> None:
        """Raises ``ConfigError`` where there are any."""
        if self._lines > TOLD:
            more = f"{self._lines - TOLD} more lines like these"
            self._told.append(Mistake(self._file, "", more, "correct the file, or give another"))
        if self._told:
            raise ConfigError(tuple(self._told))

    def only(self, found: str, expected: str) -> ConfigError:
        """The mistake of the file as a whole."""
        return ConfigError((Mistake(self._file, "", found, expected),))
