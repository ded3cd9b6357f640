"""Editors of other programs' settings files for each format except JSON, which ``edit_json`` has."""

import re
import tomllib
from collections.abc import Callable, Sequence
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

    ``parse`` returns the content as a mapping, ``edit`` the text with settings, ``remove`` the text without a path.
    ``parse`` raises ``ValueError`` or ``yaml.YAMLError``; the others may also raise ``LookupError``."""

    parse: Callable[[str], dict[str, Any]]
    edit: Callable[[str, Settings], str]
    remove: Callable[[str, Path], str]


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


ENV = Notation(_parse_env, _edit_env, _remove_env)


# TOML

_FIRST_TABLE = re.compile(r"(?:^[ \t]*#.*\n)*^[ \t]*\[", re.M)
"""The first table with the comments above it: tomlkit would put new keys of the root between the two."""


def _edit_toml(text: str, settings: Settings) -> str:
    found = _FIRST_TABLE.search(text)
    start = len(text) if found is None else found.start()
    head = _change_toml(text[:start], [one for one in settings if len(one[0]) == 1])
    return _change_toml(head + text[start:], [one for one in settings if len(one[0]) > 1])


def _change_toml(text: str, changes: Settings) -> str:
    """Return ``text`` with new values at paths; a value that is missing (``...``) is removed. Raises ``ValueError``."""
    import tomlkit.exceptions

    try:
        document = tomlkit.parse(text)
        for path, value in changes:
            holder: Any = document
            for step in path[:-1]:
                holder = holder.setdefault(step, tomlkit.table(is_super_table=True))
            if value is ...:
                holder.pop(path[-1], None)  # tables that only contain tables vanish with the last one
            else:
                holder[path[-1]] = value
        return tomlkit.dumps(document)
    except tomlkit.exceptions.TOMLKitError as error:
        raise ValueError(str(error)) from None


def _remove_toml(text: str, path: Path) -> str:
    after = _change_toml(text, [(path, ...)])
    separates = after == "\n" or (after.endswith("\n\n") and not text.endswith("\n\n"))
    return after[:-1] if separates else after  # tomlkit put an empty line before the last table, which is gone


TOML = Notation(tomllib.loads, _edit_toml, _remove_toml)


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


def _parse_yaml_list(text: str) -> dict[str, Any]:
    """Return the list in ``text`` as a mapping by the first member of each item. Raises ``Unmergeable``."""
    items = yaml.safe_load(text) or []
    if not isinstance(items, list):
        raise Unmergeable("the file is not a list, but must be one")
    pairs = [(str(next(iter(item.values()), "")) if isinstance(item, dict) else str(item), item) for item in items]
    if len(dict(pairs)) < len(pairs):
        raise Unmergeable("it has two items with the same name")
    return dict(pairs)


def _edit_yaml_list(text: str, settings: Settings) -> str:
    for (name,), item in settings:
        names, block = [*_parse_yaml_list(text)], _as_yaml([item])
        text = _replace_block(text, names.index(name), block) if name in names else _join(text, block)
    return text


def _join(text: str, block: str) -> str:
    return "\n".join([*text.splitlines(), block])


def _replace_block(text: str, place: int, block: str) -> str:
    """Return ``text`` with ``block`` instead of the item with the index ``place``."""
    lines = text.splitlines()
    nodes = getattr(yaml.compose(text), "value", ())
    start = nodes[place].start_mark.line
    end = nodes[place].end_mark.line if place + 1 < len(nodes) else len(lines)
    while lines[end - 1].lstrip()[:1] in ("", "#"):  # belongs to the next item
        end -= 1
    return join_lines(lines[:start]) + block + join_lines(lines[end:])


def _remove_item(text: str, path: Path) -> str:
    return _replace_block(text, [*_parse_yaml_list(text)].index(path[0]), "")


def _as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)


YAML = Notation(_parse_yaml, _edit_yaml, _remove_yaml)
YAML_LIST = Notation(_parse_yaml_list, _edit_yaml_list, _remove_item)
