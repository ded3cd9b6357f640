"""The contract of an editor of one format: settings, and how a file is read, changed and changed back."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs

Path: TypeAlias = tuple[str, ...]
Settings: TypeAlias = Sequence[tuple[Path, Any]]


class Unmergeable(Exception):
    """The file cannot be edited; the message says why."""


@attrs.frozen
class Notation:
    """A format of files. ``expect`` gives the content that settings lead to, ``edit`` the text with them, ``remove``
    one without what stands at a path, ``restore`` one with a value there.

    ``parse`` raises ``ValueError`` or ``yaml.YAMLError``; the last three may raise ``LookupError``, too."""

    parse: Callable[[str], Any]
    expect: Callable[[Any, Settings], Any]
    edit: Callable[[str, Settings], str]
    remove: Callable[[str, Path], str]
    restore: Callable[[str, Path, Any], str]


def restore_by(edit: Callable[[str, Settings], str]) -> Callable[[str, Path, Any], str]:
    """A value is put back as a setting is put in."""
    return lambda text, path, value: edit(text, [(path, value)])


def with_members(before: Any, settings: Settings) -> Any:
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


def join_lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def by_first_member(items: Sequence[Any]) -> dict[str, Any]:
    """A list as a mapping by the first member of each item. Raises ``Unmergeable`` where two have the same."""
    pairs = [(str(next(iter(item.values()), "")) if isinstance(item, dict) else str(item), item) for item in items]
    if len(dict(pairs)) < len(pairs):
        raise Unmergeable("it has two items of one name")
    return dict(pairs)
