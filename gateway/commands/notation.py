"""Editors of other programs' settings files, for each format."""

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs
import yaml

Path: TypeAlias = tuple[str, ...]
Settings: TypeAlias = Sequence[tuple[Path, Any]]


class Unmergeable(Exception):
    """An error: the file cannot be edited. The message is the reason."""


MISSING: Final = object()
"""The value of a setting that is not there."""


@attrs.frozen
class Notation:
    """The functions for one file format.

    ``parse`` returns the content as a mapping, ``change`` the text with another value at a path, or without the path
    for ``MISSING``. Both raise ``ValueError`` or ``yaml.YAMLError``, ``change`` also ``LookupError``."""

    parse: Callable[[str], dict[str, Any]]
    change: Callable[[str, Path, Any], str]


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


def _join_lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


# JSON without comments


def _parse_json(text: str) -> Any:
    return json.loads(text) if text.strip() else {}


def _change_json(text: str, path: Path, value: Any) -> str:
    content = _parse_json(text)
    if value is MISSING:
        holder = content
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
    else:
        content = with_members(content, [(path, value)])
    indent = re.search(r'\n([ \t]+)"', text)
    # A text in ASCII may have escapes that UTF-8 cannot express.
    return json.dumps(content, indent=indent[1] if indent else 2, ensure_ascii=text.isascii()) + "\n"


JSON = Notation(_parse_json, _change_json)


# A name and its value on each line

_VARIABLE = re.compile(r"\s*(?:export\s+)?(?P<name>\w+)\s*=(?P<value>.*)")


def _parse_env(text: str) -> dict[str, str]:
    found = (_VARIABLE.fullmatch(line) for line in text.splitlines())
    return {one["name"]: re.sub(r"^(['\"])(.*)\1$", r"\2", one["value"].strip()) for one in found if one}


def _change_env(text: str, path: Path, value: Any) -> str:
    (name,) = path
    return _change_lines(text, rf"\s*(export\s+)?{name}\s*=", None if value is MISSING else f"{name}={_quote(value)}")


def _quote(value: str) -> str:
    """Return ``value`` in single quotes, which shells do not expand, if it needs any.

    Raises ``ValueError`` if it cannot be quoted."""
    if re.fullmatch(r"[\w./:@%+,=-]*", value):
        return value
    if "'" in value or "\n" in value:
        raise ValueError("cannot be quoted")
    return f"'{value}'"


def _change_lines(text: str, start: str, line: str | None) -> str:
    """Return ``text`` with ``line`` in place of each line that matches ``start``, else at the end; ``None`` removes
    these lines. The first group of ``start`` stays."""
    lines = text.splitlines()
    found = {place: match for place, old in enumerate(lines) if (match := re.match(start, old))}
    if line is None:
        return _join_lines([old for place, old in enumerate(lines) if place not in found])
    for place, match in found.items():
        lines[place] = f"{match[1] or ''}{line}"
    return _join_lines(lines if found else [*lines, line])


ENV = Notation(_parse_env, _change_env)


# TOML

_FIRST_TABLE = re.compile(r"(?:^[ \t]*#.*\n)*^[ \t]*\[", re.M)
"""The first table with the comments above it: tomlkit would put new keys of the root between the two."""


def _change_toml(text: str, path: Path, value: Any) -> str:
    import tomlkit.exceptions

    table = _FIRST_TABLE.search(text) if value is not MISSING and len(path) == 1 else None
    end = len(text) if table is None else table.start()
    try:
        document = tomlkit.parse(text[:end])
        holder: Any = document
        for step in path[:-1]:
            holder = holder.setdefault(step, tomlkit.table(is_super_table=True))
        if value is MISSING:
            holder.pop(path[-1], None)  # tables that only contain tables vanish with the last one
        else:
            holder[path[-1]] = value
        after = tomlkit.dumps(document)
    except tomlkit.exceptions.TOMLKitError as error:
        raise ValueError(str(error)) from None
    if value is MISSING and (after == "\n" or (after.endswith("\n\n") and not text.endswith("\n\n"))):
        return after[:-1]  # tomlkit put an empty line before the last table, which is gone
    return after + text[end:]


TOML = Notation(tomllib.loads, _change_toml)


# YAML: a mapping of scalars, or a list of mappings with ours among them


def _parse_yaml(text: str) -> Any:
    return yaml.safe_load(text) or {}


def _change_yaml(text: str, path: Path, value: Any) -> str:
    (name,) = path
    line = None if value is MISSING else _as_yaml({name: value}).rstrip("\n")
    return _change_lines(text, rf"(){re.escape(name)}\s*:", line)


def _parse_yaml_list(text: str) -> dict[str, Any]:
    """Return the list in ``text`` as a mapping by the first member of each item. Raises ``Unmergeable``."""
    items = yaml.safe_load(text) or []
    if not isinstance(items, list):
        raise Unmergeable("the file is not a list, but must be one")
    pairs = [(str(next(iter(item.values()), "")) if isinstance(item, dict) else str(item), item) for item in items]
    if len(dict(pairs)) < len(pairs):
        raise Unmergeable("it has two items with the same name")
    return dict(pairs)


def _change_item(text: str, path: Path, value: Any) -> str:
    names, block = [*_parse_yaml_list(text)], "" if value is MISSING else _as_yaml([value])
    if path[0] not in names:
        return "\n".join([*text.splitlines(), block])
    return _replace_block(text, names.index(path[0]), block)


def _replace_block(text: str, place: int, block: str) -> str:
    """Return ``text`` with ``block`` instead of the item with the index ``place``."""
    lines = text.splitlines()
    nodes = getattr(yaml.compose(text), "value", ())
    start = nodes[place].start_mark.line
    end = nodes[place].end_mark.line if place + 1 < len(nodes) else len(lines)
    while lines[end - 1].lstrip()[:1] in ("", "#"):  # belongs to the next item
        end -= 1
    return _join_lines(lines[:start]) + block + _join_lines(lines[end:])


def _as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)


YAML = Notation(_parse_yaml, _change_yaml)
YAML_LIST = Notation(_parse_yaml_list, _change_item)
