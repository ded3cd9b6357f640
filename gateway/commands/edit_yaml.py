"""Settings put into YAML: a mapping of scalars, or a list of mappings of which one is ours."""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from gateway.commands.notation import (
    Notation,
    Path,
    Settings,
    Unmergeable,
    by_first_member,
    join_lines,
    restore_by,
    with_members,
)


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
    return join_lines([line for line in text.splitlines() if not re.match(rf"{re.escape(name)}\s*:", line)])


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
    return join_lines(lines[:start]) + block + join_lines(lines[end:])


def _replace_item(text: str, path: Path, block: str) -> str:
    names = list(by_first_member(_parse_yaml_list(text)))
    return _with_block(text, names.index(path[0]), block) if path[0] in names else text + block


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)


YAML = Notation(_parse_yaml, with_members, _edit_yaml, _remove_yaml, restore_by(_edit_yaml))
YAML_LIST = Notation(
    _parse_yaml_list,
    _with_item,
    _edit_yaml_list,
    lambda text, path: _replace_item(text, path, ""),
    lambda text, path, value: _replace_item(text, path, _yaml([value])),
)
