"""Parses the Dockerfile and .dockerignore, as far as this project uses their syntax.

It needs Python alone, because the gate runs it before anything is installed.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tests.support.repository import ROOT


class Line(NamedTuple):
    """One instruction, such as ``RUN`` or ``COPY``, and its arguments."""

    word: str
    rest: str

    @property
    def sources(self) -> list[str]:
        """The sources of a ``COPY``."""
        return [part for part in shlex.split(self.rest)[:-1] if not part.startswith("--")]

    @property
    def target(self) -> str:
        return shlex.split(self.rest)[-1]

    @property
    def stage(self) -> str | None:
        """The source stage of a ``COPY``, or ``None`` for the build context."""
        found = re.search(r"--from=(\S+)", self.rest)
        return found and found[1]


class Stage(NamedTuple):
    """One ``FROM`` and the instructions after it."""

    image: str
    name: str | None
    lines: tuple[Line, ...]


def read_image(text: str) -> tuple[Stage, ...]:
    """Return the stages of a Dockerfile in order."""
    stages: list[Stage] = []
    for line in _lines(text):
        if line.word == "FROM":
            image, _, name = line.rest.partition(" AS ")
            stages.append(Stage(image, name or None, ()))
        else:
            stages[-1] = stages[-1]._replace(lines=(*stages[-1].lines, line))
    return tuple(stages)


def _lines(text: str) -> Iterator[Line]:
    whole = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", text, flags=re.M))
    for line in filter(str.strip, whole.splitlines()):
        word, _, rest = line.partition(" ")
        yield Line(word, rest.strip())


def values_of(rest: str) -> Mapping[str, str]:
    """Return the ``NAME=value`` pairs of an ``ENV`` or ``ARG``."""
    return dict(part.split("=", 1) for part in shlex.split(rest))


# The builder's context

IGNORING = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


@cache
def _as_pattern(line: str) -> re.Pattern[str]:
    """Return the pattern of a line in .dockerignore: ``*`` matches within a name, ``**/`` any number of
    directories."""
    parts = re.split(r"(\*\*/|\*)", line.strip("/"))
    known = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts))


def reaches_the_builder(path: str, lines: Iterable[str] = tuple(IGNORING)) -> bool:
    """Return whether a file is in the build context: the last matching line decides."""
    kept, names = True, [path, *map(str, PurePosixPath(path).parents)]
    for line in lines:
        if any(_as_pattern(line.removeprefix("!")).fullmatch(name) for name in names):
            kept = line.startswith("!")
    return kept


@cache
def context() -> tuple[Path, ...]:
    """Return the files of the repository in the build context, with relative paths."""
    tops = [path for path in ROOT.iterdir() if path.name not in (".git", ".venv")]
    paths = (path for top in tops for path in (top, *top.rglob("*")) if path.is_file())
    names = sorted(path.relative_to(ROOT) for path in paths)
    return tuple(name for name in names if reaches_the_builder(name.as_posix()))
