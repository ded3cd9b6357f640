"""Settings put into the text of a file that belongs to somebody else: all else in it stays as it is, comments and order
included.

Every edit is proven: the new text, parsed, must be the old content with the settings and nothing else. Where it is not,
the file is written in a way that these simple edits do not follow, and is refused rather than harmed.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import attrs
import yaml

from gateway.commands.clients import Format

Path: TypeAlias = tuple[str, ...]
Settings: TypeAlias = Sequence[tuple[Path, Any]]


class Unmergeable(Exception):
    """The file cannot be edited; the message says why."""


def merged(form: Format, text: str, settings: Settings) -> str:
    """``text`` with ``settings`` in it; the same text where they are in it already. Raises ``Unmergeable``."""
    notation = FORMATS[form]
    lines = text.replace("\r\n", "\n")
    before = _parsed(notation, lines)
    wanted = notation.expect(before, settings)
    if before == wanted:
        return text
    try:
        after = notation.edit(lines, settings)
        proven = notation.parse(after) == wanted
    except (LookupError, ValueError, yaml.YAMLError):
        proven = False
    if not proven:
        raise Unmergeable("it is written in a way that cannot be edited safely")
    return after.replace("\n", "\r\n") if "\r\n" in text else after


def written(form: Format, settings: Settings) -> str:
    """A file with ``settings`` alone."""
    return merged(form, "", settings)


@attrs.frozen
class _Notation:
    """``parse`` raises ``ValueError`` or ``yaml.YAMLError``; ``edit`` may raise ``LookupError`` and ``ValueError``."""

    parse: Callable[[str], Any]
    expect: Callable[[Any, Settings], Any]
    edit: Callable[[str, Settings], str]


def _parsed(notation: _Notation, text: str) -> Any:
    try:
        return notation.parse(text)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise Unmergeable(f"it has a mistake: {reason}") from None


def _with_members(before: Any, settings: Settings) -> Any:
    """The mapping ``before`` with ``settings`` in it."""
    after = _mapping(before, "the file")
    for path, value in settings:
        holder = after
        for step in path[:-1]:
            holder[step] = _mapping(holder.get(step, {}), step)
            holder = holder[step]
        if not (value == {} and isinstance(holder.get(path[-1]), dict)):  # a mapping is wanted, and there
            holder[path[-1]] = value
    return after


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unmergeable(f"{name} holds a {type(value).__name__} where keys should be")
    return dict(value)


# JSON, with the comments and trailing commas that many programs allow

_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.S)
_COMMAS = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.S)
_DECODER = json.JSONDecoder()


def _blanked(text: str) -> str:
    """``text`` as plain JSON: the same length, so that places in it are places in ``text``."""
    for pattern in (_TOKENS, _COMMAS):
        text = pattern.sub(lambda found: found[0] if found[0][0] == '"' else re.sub(r"\S", " ", found[0]), text)
    return text


def _parse_json(text: str) -> Any:
    plain = _blanked(text)
    return json.loads(plain) if plain.strip() else {}


@attrs.frozen
class _Object:
    """Where the members of an object stand in the text: ``start`` and ``end`` of their values."""

    opened: int
    closed: int
    members: Mapping[str, tuple[int, int]]

    @classmethod
    def at(cls, plain: str, opened: int) -> "_Object":
        """The object whose brace is at ``opened`` of valid JSON. Raises ``ValueError`` where there is none."""
        if plain[opened] != "{":
            raise ValueError("no object")
        members: dict[str, tuple[int, int]] = {}
        place = _skipped(plain, opened + 1)
        while plain[place] != "}":
            name, place = _DECODER.raw_decode(plain, place)
            start = _skipped(plain, place, ":")
            _, end = _DECODER.raw_decode(plain, start)
            members[name] = (start, end)
            place = _skipped(plain, end, ",")
        return cls(opened, place, members)


def _skipped(plain: str, place: int, mark: str = "") -> int:
    while plain[place].isspace() or plain[place] == mark:
        place += 1
    return place


def _edit_json(text: str, settings: Settings) -> str:
    text = text if _blanked(text).strip() else text + "{}\n"
    for path, value in settings:
        text = _set_json(text, path, value)
    return text


def _set_json(text: str, path: Path, value: Any) -> str:
    plain = _blanked(text)
    place = _skipped(plain, 0)
    for depth, name in enumerate(path):
        found = _Object.at(plain, place)
        rest = path[depth + 1 :]
        if name not in found.members:
            for step in reversed(rest):
                value = {step: value}
            return _insert_json(text, plain, found, name, value, depth)
        place, end = found.members[name]
        if not rest:
            same = value == {} and plain[place] == "{"
            return text if same else text[:place] + json.dumps(value, ensure_ascii=False) + text[end:]
    return text


def _insert_json(text: str, plain: str, found: _Object, name: str, value: Any, depth: int) -> str:
    """``name`` as the last member of ``found``, behind its comments, indented as the file is."""
    unit = next(iter(re.findall(r'\n([ \t]+)"', plain)), "  ")
    indent = unit * (depth + 1)
    member = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False, indent=unit)}"
    last = max((end for _, end in found.members.values()), default=None)
    start = found.opened + 1 if last is None else last
    behind = start + len(text[start : found.closed].rstrip())
    between = text[start:behind]
    comma = "" if last is None or _has_comma(between) else ","
    tail = text[behind : found.closed]
    tail = tail if "\n" in tail else "\n" + unit * depth
    added = f"\n{indent}" + member.replace("\n", f"\n{indent}")
    return text[:start] + comma + between + added + tail + text[found.closed :]


def _has_comma(gap: str) -> bool:
    return "," in _TOKENS.sub("", gap)


# TOML

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
    """What stands behind the value, with the spaces before it."""
    for found in re.finditer(r"\s*#", line):
        if _toml_path(line[: found.start()]):
            return line[found.start() :]
    return ""


# YAML: a mapping of scalars, and a list of mappings


def _parse_yaml(text: str) -> Any:
    return yaml.safe_load(text) or {}


def _edit_yaml(text: str, settings: Settings) -> str:
    lines = text.splitlines()
    for (name,), value in settings:
        line = _yaml({name: value}).rstrip("\n")
        places = [number for number, old in enumerate(lines) if re.match(rf"{re.escape(name)}\s*:", old)]
        if places:
            lines[places[0]] = line
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _parse_yaml_list(text: str) -> Any:
    return yaml.safe_load(text) or []


def _with_item(before: Any, settings: Settings) -> Any:
    """The list ``before`` with the item whose first member is that of ``settings``."""
    if not isinstance(before, list):
        raise Unmergeable(f"the file holds a {type(before).__name__} where a list should be")
    item = {path[-1]: value for path, value in settings}
    place = _item_place(before, settings)
    if place is None:
        return [*before, item]
    return [*before[:place], {**before[place], **item}, *before[place + 1 :]]


def _item_place(items: Sequence[Any], settings: Settings) -> int | None:
    (name,), value = settings[0]
    places = (number for number, item in enumerate(items) if isinstance(item, dict) and item.get(name) == value)
    return next(places, None)


def _edit_yaml_list(text: str, settings: Settings) -> str:
    before = _parse_yaml_list(text)
    place = _item_place(before, settings)
    item = _with_item(before, settings)[len(before) if place is None else place]
    block = _yaml([item]).rstrip("\n").split("\n")
    lines = text.splitlines()
    if place is None:
        return "\n".join([*lines, *block]) + "\n"
    nodes = getattr(yaml.compose(text), "value", ())
    start = nodes[place].start_mark.line
    end = nodes[place].end_mark.line if place + 1 < len(nodes) else len(lines)
    return "\n".join([*lines[:start], *block, *lines[end:]]) + "\n"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)


# Variables, one a line

_VARIABLE = re.compile(r"\s*(?P<export>export\s+)?(?P<name>\w+)\s*=(?P<value>.*)")


def _parse_env(text: str) -> dict[str, str]:
    found = (_VARIABLE.fullmatch(line) for line in text.splitlines())
    return {one["name"]: _unquoted(one["value"].strip()) for one in found if one}


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _edit_env(text: str, settings: Settings) -> str:
    lines = text.splitlines()
    for (name,), value in settings:
        plain = re.fullmatch(r"[\w./:@%+,=-]*", value)
        line = f"{name}={value if plain else _quoted(value)}"
        places = [n for n, old in enumerate(lines) if (found := _VARIABLE.fullmatch(old)) and found["name"] == name]
        for number in places:
            lines[number] = (_VARIABLE.fullmatch(lines[number])["export"] or "") + line  # type: ignore[index]
        if not places:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """``value`` in single quotes, in which nothing is replaced. Raises ``ValueError`` where that cannot be."""
    if "'" in value or "\n" in value:
        raise ValueError("cannot be quoted")
    return f"'{value}'"


FORMATS: Mapping[Format, _Notation] = {
    "json": _Notation(_parse_json, _with_members, _edit_json),
    "toml": _Notation(tomllib.loads, _with_members, _edit_toml),
    "yaml": _Notation(_parse_yaml, _with_members, _edit_yaml),
    "yaml_list": _Notation(_parse_yaml_list, _with_item, _edit_yaml_list),
    "env": _Notation(_parse_env, _with_members, _edit_env),
}
