"""Adds settings to the text of another program's file, and removes them; everything else in it stays unchanged.

Every edit is verified: the parsed result must equal the old content plus the settings. Otherwise the edit raises
``Unmergeable``, and the file stays unchanged.

YAML is edited by lines, because ruamel.yaml 0.19 reformats untouched lines.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from gateway.commands.client import Format
from gateway.commands.notation import (
    ENV,
    JSON,
    MISSING,
    TOML,
    YAML,
    YAML_LIST,
    Notation,
    Path,
    Settings,
    Unmergeable,
    with_members,
)

FORMATS: Mapping[Format, Notation] = {"json": JSON, "toml": TOML, "yaml": YAML, "yaml_list": YAML_LIST, "env": ENV}


def merge(form: Format, text: str, settings: Settings) -> str:
    """Return ``text`` with ``settings``, unchanged if it has them already. Raises ``Unmergeable``."""
    notation = FORMATS[form]
    before = _parse(notation, text)
    if form == "yaml_list":  # its settings are those of one item
        (name,) = paths_of(form, settings)
        item = before[name[0]] if isinstance(before.get(name[0]), dict) else {}
        settings = [(name, {**item, **{path[-1]: value for path, value in settings}})]
    wanted = with_members(before, settings)
    return text if before == wanted else _apply(notation, text, settings, wanted)


def _apply(notation: Notation, text: str, changes: Settings, wanted: Any) -> str:
    """Return ``text`` with ``changes``, which make its content ``wanted``. Raises ``Unmergeable`` if they do not."""
    after = text.replace("\r\n", "\n")
    try:
        for path, value in changes:
            after = notation.change(after, path, value)
        is_proven = notation.parse(after) == wanted
    except (LookupError, ValueError, TypeError, yaml.YAMLError, Unmergeable):
        is_proven = False
    if not is_proven:
        raise Unmergeable("trigate cannot edit its syntax safely")
    return after.replace("\n", "\r\n") if "\r\n" in text else after


def settings_text(form: Format, settings: Settings) -> str:
    """Return the text of a file with only ``settings``."""
    return merge(form, "", settings)


# Reverting


def values_at(form: Format, text: str, paths: Iterable[Path]) -> dict[Path, Any]:
    """Return the values in ``text`` at those of ``paths`` that exist. Raises ``Unmergeable``."""
    tree = _parse(FORMATS[form], text)
    return {path: value for path in paths if (value := _value_at(tree, path)) is not MISSING}


def paths_of(form: Format, settings: Settings) -> list[Path]:
    """Return the paths of ``settings`` for ``values_at`` and ``revert``; a whole list item is one setting there."""
    return [(str(settings[0][1]),)] if form == "yaml_list" else [path for path, _ in settings]


def revert(form: Format, text: str, changes: Mapping[Path, Any], holders: Sequence[Path] = ()) -> str:
    """Return ``text`` with the values of ``changes``, and without paths whose value is ``MISSING``.

    Mappings of ``holders`` that become empty are removed as well. Raises ``Unmergeable``."""
    notation = FORMATS[form]
    before = _parse(notation, text)
    wanted, steps = _target_content(before, changes, holders)
    if wanted == before:
        return text
    try:
        return _apply(notation, text, steps, wanted)
    except Unmergeable:
        if not holders:
            raise
        return revert(form, text, changes)  # a holder with a comment stays


def _target_content(
    before: Any, changes: Mapping[Path, Any], holders: Sequence[Path]
) -> tuple[Any, list[tuple[Path, Any]]]:
    """Return the target content of the file, and the steps that produce it."""
    after, steps = copy.deepcopy(before), []
    for path, value in (*changes.items(), *((path, {}) for path in sorted(holders, key=len, reverse=True))):
        holder, there = _value_at(after, path[:-1]), _value_at(after, path)
        if path in changes and value is not MISSING and isinstance(holder, dict):
            holder[path[-1]] = value
            steps.append((path, value))
        elif there is not MISSING and (path in changes or there == {}):
            del holder[path[-1]]
            steps.append((path, MISSING))
    return after, steps


def _value_at(tree: Any, path: Path) -> Any:
    for step in path:
        tree = tree.get(step, MISSING) if isinstance(tree, dict) else MISSING
    return tree


def _parse(notation: Notation, text: str) -> Any:
    try:
        return notation.parse(text.replace("\r\n", "\n"))
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise Unmergeable(f"it has a syntax error: {reason}") from None
