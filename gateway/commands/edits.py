"""Settings put into the text of a file that belongs to somebody else: all else in it stays as it is, comments and order
included.

Every edit is proven: the new text, parsed, must be the old content with the settings and nothing else. Where it is not,
the file is written in a way that these simple edits do not follow, and is refused rather than harmed.
"""

import copy
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
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


# Taken back

MISSING = object()


def standing(form: Format, text: str, paths: Iterable[Path]) -> dict[Path, Any]:
    """What stands in ``text`` at those of ``paths`` that are there. Raises ``Unmergeable``."""
    tree = _tree(FORMATS[form], text.replace("\r\n", "\n"))
    return {path: value for path in paths if (value := _at(tree, path)) is not MISSING}


def paths_of(form: Format, settings: Settings) -> list[Path]:
    """The paths of ``settings`` for ``standing`` and ``reverted``, to which a whole item of a list is one setting."""
    return [(str(settings[0][1]),)] if form == "yaml_list" else [path for path, _ in settings]


def reverted(form: Format, text: str, changes: Mapping[Path, Any], holders: Sequence[Path] = ()) -> str:
    """``text`` with what ``changes`` has at each path, without those where that is ``MISSING``, and without those of
    ``holders`` that are empty by then. Raises ``Unmergeable``."""
    notation = FORMATS[form]
    lines = text.replace("\r\n", "\n")
    before = _tree(notation, lines)
    for emptied in dict.fromkeys((tuple(holders), ())):  # one with a comment in it stays
        wanted, steps = _wanted(before, changes, emptied)
        if wanted == before:
            return text
        after = lines
        try:
            for path, value in steps:
                after = notation.remove(after, path) if value is MISSING else notation.restore(after, path, value)
            if _tree(notation, after) == wanted:
                return after.replace("\n", "\r\n") if "\r\n" in text else after
        except (LookupError, ValueError, TypeError, yaml.YAMLError, Unmergeable):
            continue
    raise Unmergeable("it is written in a way that cannot be edited safely")


def _wanted(before: Any, changes: Mapping[Path, Any], holders: Sequence[Path]) -> tuple[Any, list[tuple[Path, Any]]]:
    """The content that the file is to have, and the steps that lead there."""
    after, steps = copy.deepcopy(before), []
    for path, value in (*changes.items(), *((path, {}) for path in sorted(holders, key=len, reverse=True))):
        holder, there = _at(after, path[:-1]), _at(after, path)
        if path in changes and value is not MISSING and isinstance(holder, dict):
            holder[path[-1]] = value
            steps.append((path, value))
        elif there is not MISSING and (path in changes or there == {}):
            del holder[path[-1]]
            steps.append((path, MISSING))
    return after, steps


def _at(tree: Any, path: Path) -> Any:
    for step in path:
        tree = tree.get(step, MISSING) if isinstance(tree, dict) else MISSING
    return tree


def _tree(notation: "_Notation", text: str) -> Any:
    """What is in ``text``, its list as a mapping by the first member of each item."""
    found = _parsed(notation, text)
    if not isinstance(found, list):
        return found
    items = [(str(next(iter(item.values()), "")) if isinstance(item, dict) else str(item), item) for item in found]
    if len(dict(items)) < len(items):
        raise Unmergeable("it has two items of one name")
    return dict(items)


# The formats


@attrs.frozen
class _Notation:
    """``parse`` raises ``ValueError`` or ``yaml.YAMLError``; the other three may raise ``LookupError`` and
    ``ValueError``. ``remove`` takes out what stands at a path, ``restore`` puts a value there."""

    parse: Callable[[str], Any]
    expect: Callable[[Any, Settings], Any]
    edit: Callable[[str, Settings], str]
    remove: Callable[[str, Path], str]
    restore: Callable[[str, Path, Any], str]


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
    """Where the members of an object stand in the text: ``start`` and ``end`` of their values, and their names."""

    opened: int
    closed: int
    members: Mapping[str, tuple[int, int]]
    names: Mapping[str, int]

    @classmethod
    def at(cls, plain: str, opened: int) -> "_Object":
        """The object whose brace is at ``opened`` of valid JSON. Raises ``ValueError`` where there is none."""
        if plain[opened] != "{":
            raise ValueError("no object")
        members: dict[str, tuple[int, int]] = {}
        names: dict[str, int] = {}
        place = _skipped(plain, opened + 1)
        while plain[place] != "}":
            begun = place
            name, place = _DECODER.raw_decode(plain, place)
            names[name] = begun
            start = _skipped(plain, place, ":")
            _, end = _DECODER.raw_decode(plain, start)
            members[name] = (start, end)
            place = _skipped(plain, end, ",")
        return cls(opened, place, members, names)


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


def _remove_json(text: str, path: Path) -> str:
    """``text`` without the member at ``path`` and its comma; comments stay."""
    plain = _blanked(text)
    place = _skipped(plain, 0)
    for name in path[:-1]:
        place = _Object.at(plain, place).members[name][0]
    found = _Object.at(plain, place)
    start, (_, end) = found.names[path[-1]], found.members[path[-1]]
    own = _comma_behind(text, end)
    if own is not None:
        return _cut(text, start, own + 1)
    text = _cut(text, start, end)
    before = [other for _, other in found.members.values() if other < start]
    comma = _comma_behind(text, max(before)) if before else None
    return text if comma is None else text[:comma] + text[comma + 1 :]


def _comma_behind(text: str, place: int) -> int | None:
    rest = _TOKENS.sub(lambda found: found[0] if found[0][0] == '"' else " " * len(found[0]), text[place:])
    gap = len(rest) - len(rest.lstrip())
    return place + gap if rest[gap : gap + 1] == "," else None


def _cut(text: str, start: int, end: int) -> str:
    """``text`` without ``start`` to ``end``, and without a line of which nothing is left."""
    left, right = text[:start].rstrip(" \t"), text[end:].lstrip(" \t")
    if left.endswith("\n") and right.startswith("\n"):
        return left + right[1:]
    return text[:start] + text[end:]


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


def _remove_toml(text: str, path: Path) -> str:
    """``text`` without the line of a value, or without the header of an empty table."""
    lines = text.splitlines()
    section = _toml_section(lines, path[:-1])
    for number in section or ():
        if _toml_path(lines[number]) == path[-1:]:
            return _joined([*lines[:number], *lines[number + 1 :]])
    own = _toml_section(lines, path)
    if own is None:
        return text  # a table above others has no header of its own
    start = own.start - 1
    end = next((number for number in own if lines[number].strip()), own.stop)
    if start and not lines[start - 1].strip():
        start -= 1
    return _joined([*lines[:start], *([""] if lines[:start] and lines[end:] else []), *lines[end:]])


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


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


def _remove_yaml(text: str, path: Path) -> str:
    (name,) = path
    return _joined([line for line in text.splitlines() if not re.match(rf"{re.escape(name)}\s*:", line)])


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
    block = _yaml([item])
    return "\n".join([*text.splitlines(), block]) if place is None else _with_block(text, place, block)


def _with_block(text: str, place: int, block: str) -> str:
    """``text`` with ``block`` in the place of the item with the number ``place``."""
    lines = text.splitlines()
    nodes = getattr(yaml.compose(text), "value", ())
    start = nodes[place].start_mark.line
    end = nodes[place].end_mark.line if place + 1 < len(nodes) else len(lines)
    while lines[end - 1].lstrip()[:1] in ("", "#"):  # belongs to what follows
        end -= 1
    return _joined(lines[:start]) + block + _joined(lines[end:])


def _replace_item(text: str, path: Path, block: str) -> str:
    names = list(_tree(FORMATS["yaml_list"], text))
    return _with_block(text, names.index(path[0]), block) if path[0] in names else text + block


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


def _remove_env(text: str, path: Path) -> str:
    lines = text.splitlines()
    return _joined([line for line in lines if (found := _VARIABLE.fullmatch(line)) is None or found["name"] != path[0]])


def _quoted(value: str) -> str:
    """``value`` in single quotes, in which nothing is replaced. Raises ``ValueError`` where that cannot be."""
    if "'" in value or "\n" in value:
        raise ValueError("cannot be quoted")
    return f"'{value}'"


def _restore(edit: Callable[[str, Settings], str]) -> Callable[[str, Path, Any], str]:
    return lambda text, path, value: edit(text, [(path, value)])


FORMATS: Mapping[Format, _Notation] = {
    "json": _Notation(_parse_json, _with_members, _edit_json, _remove_json, _restore(_edit_json)),
    "toml": _Notation(tomllib.loads, _with_members, _edit_toml, _remove_toml, _restore(_edit_toml)),
    "yaml": _Notation(_parse_yaml, _with_members, _edit_yaml, _remove_yaml, _restore(_edit_yaml)),
    "yaml_list": _Notation(
        _parse_yaml_list, _with_item, _edit_yaml_list,
        lambda text, path: _replace_item(text, path, ""),
        lambda text, path, value: _replace_item(text, path, _yaml([value])),
    ),
    "env": _Notation(_parse_env, _with_members, _edit_env, _remove_env, _restore(_edit_env)),
}  # fmt: skip
