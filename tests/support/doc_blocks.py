"""Finds the commands on the pages: in shell blocks, in inline code, and in comments of deployment files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from tests.support.harness import ROOT

PAGES: Final = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
]
DEPLOYED: Final = [path for path in sorted((ROOT / "deploy").rglob("*")) if path.suffix in (".yaml", ".service")]

FENCED: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
SPAN: Final = re.compile(r"`([^`]+)`")
NOTED: Final = re.compile(r"^# +(?:\S.*:)?  +(\S.*)$", re.M)
"""A command in a comment is on its own line, indented, or well after a colon."""

SHELL: Final = ("sh", "bash", "shell")
PROGRAMS: Final = set(
    """
    aider claude codex cp curl docker git helm hypercorn just kill kubectl llm node npm npx opencode pip pipx pytest
    python python3 sqlite3 systemctl trigate uv uvx
    """.split()  # noqa: SIM905  # a list of so many is harder to read
)
"""Inline code is a command if it begins with one of these words or a program of this repository, and has arguments."""


@attrs.frozen
class Command:
    """One command without its comment and the directory of the virtual environment.

    ``places`` are the pages that have it.
    """

    text: str
    places: tuple[str, ...]


def blocks_in(text: str, *languages: str) -> list[str]:
    """Return the blocks of ``text`` in these languages."""
    return [body for name, body in FENCED.findall(text) if name in languages]


def commands() -> list[Command]:
    """Return all commands, each once, in the order of the pages."""
    found: dict[str, list[str]] = {}
    for path in (*PAGES, *DEPLOYED):
        for text in commands_in(path):
            places = found.setdefault(text, [])
            if (name := str(path.relative_to(ROOT))) not in places:
                places.append(name)
    return [Command(text, tuple(places)) for text, places in found.items()]


def commands_in(path: Path) -> Iterator[str]:
    """Yield the commands of one page."""
    text = path.read_text()
    lines = [line for body in blocks_in(text, *SHELL) for line in body.splitlines()]
    lines += [line[2:] for body in blocks_in(text, "console") for line in body.splitlines() if line.startswith("$ ")]
    if path in DEPLOYED:
        lines += [line for line in NOTED.findall(text) if _is_command(line)]
    lines += filter(_is_command, _spans(text))
    for line in lines:
        for part in _strip_comment(line).split(" && "):
            if part:
                yield part.removeprefix(".venv/bin/")


def _spans(text: str) -> Iterator[str]:
    """Yield inline code, also across line breaks."""
    for paragraph in re.split(r"\n\s*\n|\n(?=\|)", FENCED.sub("\n\n", text)):
        for span in SPAN.findall(paragraph):
            yield " ".join(span.split())


def _is_command(text: str) -> bool:
    first, _, rest = text.partition(" ")
    name = first.removeprefix(".venv/bin/")
    return bool(rest) and (name in PROGRAMS or re.fullmatch(r"[\w/]+\.py", name) is not None)


def _strip_comment(line: str) -> str:
    return re.sub(r"(?:^|\s+)# .*", "", line).strip()
