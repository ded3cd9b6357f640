"""Settings put into TOML, a line each."""

import json
import re
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gateway.commands.notation import Notation, Path, Settings, join_lines, restore_by, with_members

_HEADER = re.compile(r"\s*\[(?P<inner>[^\[\]]+)\]\s*(#.*)?$")
_ANY_HEADER = re.compile(r"\s*\[")


def _edit_toml(text: str, settings: Settings) -> str:
    lines = text.splitlines()
    for path, value in settings:
        _set_toml(lines, path, value)
    return "\n".join(lines) + "\n"


def _set_toml(lines: list[str], path: Path, value: Any) -> None:
    """Change ``lines``: the value where its line is, or a new line behind the last of its table."""
    *table, name = path
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"  # texts, numbers and booleans are TOML's too
    section = _toml_section(lines, tuple(table))
    if section is None:
        lines += [*([""] if lines and lines[-1].strip() else []), f"[{'.'.join(table)}]", line]
        return
    for number in section:
        if _toml_path(lines[number]) == (name,):
            lines[number] = line + _toml_comment(lines[number])
            return
    filled = [number for number in section if lines[number].strip() and not lines[number].lstrip().startswith("#")]
    place = filled[-1] + 1 if filled else section.start
    lines.insert(place, line)
    if not filled and not table and len(lines) > 1:
        lines.insert(place + 1, "")


def _toml_section(lines: Sequence[str], table: Path) -> range | None:
    """The lines of ``table``, without its header; ``()`` is what stands before the first header."""
    headers = [number for number, line in enumerate(lines) if _ANY_HEADER.match(line)]
    if not table:
        return range(headers[0] if headers else len(lines))
    for number, end in pairwise([*headers, len(lines)]):
        found = _HEADER.match(lines[number])
        if found and _toml_path(f"[{found['inner']}]") == table:
            return range(number + 1, end)
    return None


def _toml_path(line: str) -> Path | None:
    """The names that ``line``, a header or a whole assignment, leads to; None if it is neither."""
    try:
        value: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    path: list[str] = []
    while isinstance(value, dict) and len(value) == 1:
        name, value = next(iter(value.items()))
        path.append(name)
    return tuple(path) or None


def _toml_comment(line: str) -> str:
    """The comment behind the value, with the spaces before it."""
    for found in re.finditer(r"\s*#", line):
        if _toml_path(line[: found.start()]):
            return line[found.start() :]
    return ""


def _remove_toml(text: str, path: Path) -> str:
    """``text`` without the line of a value, or without the header of an empty table."""
    lines = text.splitlines()
    section = _toml_section(lines, path[:-1])
    for number in section or ():
        if _toml_path(lines[number]) == path[-1:]:
            return join_lines([*lines[:number], *lines[number + 1 :]])
    own = _toml_section(lines, path)
    if own is None:
        return text  # a table above others has no header of its own
    start = own.start - 1
    end = next((number for number in own if lines[number].strip()), own.stop)
    if start and not lines[start - 1].strip():
        start -= 1
    return join_lines([*lines[:start], *([""] if lines[:start] and lines[end:] else []), *lines[end:]])


TOML = Notation(tomllib.loads, with_members, _edit_toml, _remove_toml, restore_by(_edit_toml))
