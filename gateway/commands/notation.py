"""Editors of other programs' settings files for each format except JSON, which ``edit_json`` has."""

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import attrs
import yaml

Path: TypeAlias = tuple[str, ...]
Settings: TypeAlias = Sequence[tuple[Path, Any]]


class Unmergeable(Exception):
    """An error: the file cannot be edited. The message is the reason."""


@attrs.frozen
class Notation:
    """The functions for one file format.

    ``expect`` returns the expected content after an edit, ``edit`` the text with settings, ``remove`` the text
    without a path, ``restore`` the text with a value at a path. ``parse`` raises ``ValueError`` or
    ``yaml.YAMLError``; the last three functions may also raise ``LookupError``."""

    parse: Callable[[str], Any]
    expect: Callable[[Any, Settings], Any]
    edit: Callable[[str, Settings], str]
    remove: Callable[[str, Path], str]
    restore: Callable[[str, Path, Any], str]


def restore_by(edit: Callable[[str, Settings], str]) -> Callable[[str, Path, Any], str]:
    """Return a ``restore`` function that uses ``edit``."""
    return lambda text, path, value: edit(text, [(path, value)])


def with_members(before: Any, settings: Settings) -> Any:
    """Return the mapping ``before`` with ``settings``."""
    after = _require_mapping(before, "the file")
    for path, value in settings:
        holder = after
        for step in path[:-1]:
            holder[step] = _require_mapping(holder.get(step, {}), step)
            holder = holder[step]
        if not (value == {} and isinstance(holder.get(path[-1]), dict)):  # keep an existing mapping
            holder[path[-1]] = value
    return after


def _require_mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unmergeable(f"{name} is not a mapping, but must be one")
    return dict(value)


def join_lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def by_first_member(items: Sequence[Any]) -> dict[str, Any]:
    """Return a list as a mapping by the first member of each item. Raises ``Unmergeable`` for duplicates."""
    pairs = [(str(next(iter(item.values()), "")) if isinstance(item, dict) else str(item), item) for item in items]
    if len(dict(pairs)) < len(pairs):
        raise Unmergeable("it has two items with the same name")
    return dict(pairs)


# Variables, one a line

_VARIABLE = re.compile(r"\s*(?P<export>export\s+)?(?P<name>\w+)\s*=(?P<value>.*)")


def _parse_env(text: str) -> dict[str, str]:
    found = (_VARIABLE.fullmatch(line) for line in text.splitlines())
    return {one["name"]: re.sub(r"^(['\"])(.*)\1$", r"\2", one["value"].strip()) for one in found if one}


def _edit_env(text: str, settings: Settings) -> str:
    lines = text.splitlines()
    for (name,), value in settings:
        plain = re.fullmatch(r"[\w./:@%+,=-]*", value)
        line = f"{name}={value if plain else _quote(value)}"
        places = [n for n, old in enumerate(lines) if (found := _VARIABLE.fullmatch(old)) and found["name"] == name]
        for number in places:
            lines[number] = (_VARIABLE.fullmatch(lines[number])["export"] or "") + line  # type: ignore[index]
        if not places:
            lines.append(line)
    return join_lines(lines)


def _remove_env(text: str, path: Path) -> str:
    lines = text.splitlines()
    return join_lines(
        [line for line in lines if (found := _VARIABLE.fullmatch(line)) is None or found["name"] != path[0]]
    )


def _quote(value: str) -> str:
    """Return ``value`` in single quotes, which shells do not expand. Raises ``ValueError`` if it contains a quote."""
    if "'" in value or "\n" in value:
        raise ValueError("cannot be quoted")
    return f"'{value}'"


ENV = Notation(_parse_env, with_members, _edit_env, _remove_env, restore_by(_edit_env))


# TOML, a line for each value

_HEADER = re.compile(r"\s*\[(?P<inner>[^\[\]]+)\]\s*(#.*)?$")
_ANY_HEADER = re.compile(r"\s*\[")


def _edit_toml(text: str, settings: Settings) -> str:
    lines = text.splitlines()
    for path, value in settings:
        _set_toml(lines, path, value)
    return join_lines(lines)


def _set_toml(lines: list[str], path: Path, value: Any) -> None:
    """Set a value in ``lines``: replace its line, or add a line at the end of its table."""
    *table, name = path
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"  # TOML writes them like JSON
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
    """Return the line numbers of ``table`` without its header; ``()`` is the part before the first header."""
    headers = [number for number, line in enumerate(lines) if _ANY_HEADER.match(line)]
    if not table:
        return range(headers[0] if headers else len(lines))
    for number, end in pairwise([*headers, len(lines)]):
        found = _HEADER.match(lines[number])
        if found and _toml_path(f"[{found['inner']}]") == table:
            return range(number + 1, end)
    return None


def _toml_path(line: str) -> Path | None:
    """Return the path that ``line`` sets, a header or a complete assignment; None if it is neither."""
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
    """Return the comment after the value, with the spaces before it."""
    for found in re.finditer(r"\s*#", line):
        if _toml_path(line[: found.start()]):
            return line[found.start() :]
    return ""


def _remove_toml(text: str, path: Path) -> str:
    """Return ``text`` without the line of a value, or without the header of an empty table."""
    lines = text.splitlines()
    section = _toml_section(lines, path[:-1])
    for number in section or ():
        if _toml_path(lines[number]) == path[-1:]:
            return join_lines([*lines[:number], *lines[number + 1 :]])
    own = _toml_section(lines, path)
    if own is None:
        return text  # a table that only contains tables needs no header
    start = own.start - 1
    end = next((number for number in own if lines[number].strip()), own.stop)
    if start and not lines[start - 1].strip():
        start -= 1
    return join_lines([*lines[:start], *([""] if lines[:start] and lines[end:] else []), *lines[end:]])


TOML = Notation(tomllib.loads, with_members, _edit_toml, _remove_toml, restore_by(_edit_toml))


# YAML: a mapping of scalars, or a list of mappings with ours among them


def _parse_yaml(text: str) -> Any:
    return yaml.safe_load(text) or {}


def _edit_yaml(text: str, settings: Settings) -> str:
    lines = text.splitlines()
    for (name,), value in settings:
        line = _as_yaml({name: value}).rstrip("\n")
        places = [number for number, old in enumerate(lines) if re.match(rf"{re.escape(name)}\s*:", old)]
        if places:
            lines[places[0]] = line
        else:
            lines.append(line)
    return join_lines(lines)


def _remove_yaml(text: str, path: Path) -> str:
    (name,) = path
    return join_lines([line for line in text.splitlines() if not re.match(rf"{re.escape(name)}\s*:", line)])


def _parse_yaml_list(text: str) -> Any:
    return yaml.safe_load(text) or []


def _add_item(before: Any, settings: Settings) -> Any:
    """Return the list ``before`` with the item of ``settings``, identified by its first member."""
    if not isinstance(before, list):
        raise Unmergeable("the file is not a list, but must be one")
    item = {path[-1]: value for path, value in settings}
    place = _item_index(before, settings)
    if place is None:
        return [*before, item]
    return [*before[:place], {**before[place], **item}, *before[place + 1 :]]


def _item_index(items: Sequence[Any], settings: Settings) -> int | None:
    (name,), value = settings[0]
    places = (number for number, item in enumerate(items) if isinstance(item, dict) and item.get(name) == value)
    return next(places, None)


def _edit_yaml_list(text: str, settings: Settings) -> str:
    before = _parse_yaml_list(text)
    place = _item_index(before, settings)
    item = _add_item(before, settings)[len(before) if place is None else place]
    block = _as_yaml([item])
    return "\n".join([*text.splitlines(), block]) if place is None else _replace_block(text, place, block)


def _replace_block(text: str, place: int, block: str) -> str:
    """Return ``text`` with ``block`` instead of the item with the index ``place``."""
    lines = text.splitlines()
    nodes = getattr(yaml.compose(text), "value", ())
    start = nodes[place].start_mark.line
    end = nodes[place].end_mark.line if place + 1 < len(nodes) else len(lines)
    while lines[end - 1].lstrip()[:1] in ("", "#"):  # belongs to the next item
        end -= 1
    return join_lines(lines[:start]) + block + join_lines(lines[end:])


def _replace_item(text: str, path: Path, block: str) -> str:
    names = list(by_first_member(_parse_yaml_list(text)))
    return _replace_block(text, names.index(path[0]), block) if path[0] in names else text + block


def _as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)


YAML = Notation(_parse_yaml, with_members, _edit_yaml, _remove_yaml, restore_by(_edit_yaml))
YAML_LIST = Notation(
    _parse_yaml_list,
    _add_item,
    _edit_yaml_list,
    lambda text, path: _replace_item(text, path, ""),
    lambda text, path, value: _replace_item(text, path, _as_yaml([value])),
)
