"""Settings put into the text of a file that belongs to somebody else: all else in it stays as it is, comments and order
included.

Every edit is proven: the new text, parsed, must be the old content with the settings and nothing else. Where it is not,
the file is written in a way that these simple edits do not follow, and is refused rather than harmed.

Libraries that keep comments keep less than that: tomlkit 0.15 puts a new key behind the comment of the next table, and
ruamel.yaml 0.19 spaces and wraps lines anew that nobody touched.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from gateway.commands.client import Format
from gateway.commands.edit_json import JSON
from gateway.commands.notation import ENV, TOML, YAML, YAML_LIST, Notation, Path, Settings, Unmergeable, by_first_member

FORMATS: Mapping[Format, Notation] = {"json": JSON, "toml": TOML, "yaml": YAML, "yaml_list": YAML_LIST, "env": ENV}


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
    """The values in ``text`` at those of ``paths`` that are there. Raises ``Unmergeable``."""
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


def _tree(notation: Notation, text: str) -> Any:
    """The content of ``text``, its list as a mapping by the first member of each item."""
    found = _parsed(notation, text)
    return by_first_member(found) if isinstance(found, list) else found


def _parsed(notation: Notation, text: str) -> Any:
    try:
        return notation.parse(text)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise Unmergeable(f"it has a mistake: {reason}") from None
