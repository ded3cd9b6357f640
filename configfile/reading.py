"""The reader of plain content into declared classes, with all mistakes."""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin

import attrs
import cattrs

from configfile.document import Path
from configfile.expanded import Expanded, Unresolved
from configfile.keys import (
    Field,
    Given,
    Kind,
    fixed_length,
    is_literal,
    is_optional,
    keys_of,
    kind_of,
    present,
    without_default_parts,
)
from configfile.kinds import PLAIN, plain_value
from configfile.wording import UNKNOWN_KEY, Wrong, describe, nearest, one_of

T = TypeVar("T")

NO_VALUE: Final = "it has no value, so it counts as absent"
"""Why such a key has no effect. A list whose items are all in comments leaves one, and with it no restriction."""

StructureHook: TypeAlias = Callable[[Any, Any], Any]
"""Converts a value to a type, which it also gets. Raises ``Wrong``."""

AdviceFunction = Callable[[type, str], Wrong]
"""A function that returns the advice on an unknown key of a class."""


@attrs.frozen(repr=False)
class ReadingFault:
    """A ``Wrong`` with its place; ``missing`` is true for an absent required key."""

    path: Path
    wrong: Wrong
    missing: bool = False


@attrs.frozen(repr=False)
class Reading(Generic[T]):
    """The result of reading.

    - ``value``: the content without the faulty members; ``None`` if a required one is faulty.
    - ``given``: the attributes in the content, by the places of their mappings.
    - ``ignored``: the keys without effect, each with the reason.
    - ``unknown``: the places of required keys that are variables without a value, so that their mappings are absent.
    """

    value: T | None
    faults: tuple[ReadingFault, ...]
    given: Mapping[Path, frozenset[str]]
    ignored: tuple[tuple[Path, str], ...] = ()
    unknown: tuple[Path, ...] = ()


def read(content: Any, cls: type[T], advise: AdviceFunction | None = None) -> Reading[T]:
    """Read ``content`` as a ``cls``; ``advise`` returns advice on unknown keys."""
    reader = _Reader(advise or unknown_key)
    token = _READER.set(reader)
    try:
        value = reader.member(content, _hook_of(cls), cls, ())
    finally:
        _READER.reset(token)
    found = None if value is _UNUSABLE else value
    return Reading(found, tuple(reader.faults), reader.given, tuple(reader.ignored), tuple(reader.unknown))


def unknown_key(cls: type, name: str) -> Wrong:
    """Return the message about an unknown key: the most similar name, else the one that it shortens, else all."""
    names = tuple(field.name for field in keys_of(cls).values() if field.key.ignored is None)
    if (near := nearest(name, names)) is not None:
        return Wrong(UNKNOWN_KEY, "", near)
    if (whole := _only_completion(name, names)) is not None:
        return Wrong(UNKNOWN_KEY, "", whole)
    return Wrong(UNKNOWN_KEY, "", known=names)


def _only_completion(name: str, names: Iterable[str]) -> str | None:
    """Return the only one of ``names`` that begins with ``name``, if that has three letters."""
    found = [one for one in names if len(name) >= 3 and one.startswith(name)]
    return found[0] if len(found) == 1 else None


_LIST: Final = "expected a list, such as [A, B]"


class _Unusable:
    """The value of unreadable content, after its fault is reported."""


_UNUSABLE: Final = _Unusable()


class _Reader:
    """One run over the content: the converter's hooks, with the current place and the faults so far."""

    def __init__(self, advise: AdviceFunction) -> None:
        self._advise = advise
        self._path: Path = ()
        self.faults: list[ReadingFault] = []
        self.given: dict[Path, frozenset[str]] = {}
        self.ignored: list[tuple[Path, str]] = []
        self.unknown: list[Path] = []

    def member(self, value: Any, hook: StructureHook, of: Any, path: Path) -> Any:
        """Read the value as the type ``of`` by its ``hook``, or report its faults and return ``_UNUSABLE``."""
        before, self._path = self._path, path
        try:
            return hook(value, of)
        except Wrong as wrong:
            self.faults.append(ReadingFault(path, wrong))
            return _UNUSABLE
        finally:
            self._path = before

    def read_given(self, value: Any, of: Given) -> Any:
        return self._read_members(value, of.cls, self._path)

    def read_instance(self, value: Any, of: Any) -> Any:
        members = self._read_members(value, of, self._path)
        return members if members is _UNUSABLE else of(**members)

    def _read_members(self, value: Any, cls: Any, path: Path) -> Any:
        """Return the attributes of ``cls`` in the mapping ``value``."""
        fields = keys_of(cls)
        if not isinstance(value, dict):
            raise Wrong(_describe(value, cls), f"expected a mapping{_example_key(fields)}")
        made: dict[str, Any] = {}
        in_parts: defaultdict[type, dict[str, Any]] = defaultdict(dict)
        usable = True
        for name, field in fields.items():
            if name not in value and not field.required:
                continue
            member = value.get(name)
            if _is_absent(member, field):
                if member is not None:
                    usable = usable and not field.required
                    self.unknown += ((*path, name),) if field.required else ()
                elif field.required:
                    self.faults.append(ReadingFault((*path, name), Wrong("missing", "this is required"), missing=True))
                    usable = False
                elif not field.key.may_be_empty:
                    self.ignored.append(((*path, name), NO_VALUE))
            elif field.key.ignored is not None:
                self.ignored.append(((*path, name), field.key.ignored))
            elif (found := self.member(member, _hook_of_key(field), field.type, (*path, name))) is not _UNUSABLE:
                (made if field.part is None else in_parts[field.part])[field.attribute] = found
            else:
                usable = usable and not field.required
        for name in sorted(name for name in value if name not in fields):
            self._report_unknown(cls, name, path)
        self.given[path] = frozenset(made).union(*in_parts.values())
        if given := without_default_parts({part: part(**members) for part, members in in_parts.items()}):
            made["parts"] = given
        return made if usable else _UNUSABLE

    def _report_unknown(self, cls: Any, name: str, path: Path) -> None:
        if getattr(cls, "accepts_unknown_keys", False):
            near = nearest(name, keys_of(cls))
            hint = f" (did you mean {near}?)" if near else ""
            self.ignored.append(((*path, name), f"unknown key, ignored{hint}"))
        else:
            self.faults.append(ReadingFault((*path, name), self._advise(cls, name)))

    def read_items(self, value: Any, of: Any) -> Any:
        """Read a list. An unreadable item spoils it, unless ``None`` can replace the item."""
        parts, path = get_args(of), self._path
        if not isinstance(value, list | tuple):
            form = "expected a list: start each item with `- `" if isinstance(value, dict) else _LIST
            raise Wrong(_describe(value, parts[0]), form)
        if (length := fixed_length(of)) not in (None, len(value)):
            raise Wrong("a list of another length", f"expected {length} items")
        hook = _hook_of(parts[0])
        found = [self.member(item, hook, parts[0], (*path, i)) for i, item in enumerate(value)]
        if is_optional(parts[0]):
            return tuple(None if item is _UNUSABLE else item for item in found)
        return _UNUSABLE if any(item is _UNUSABLE for item in found) else tuple(found)

    def read_pairs(self, value: Any, of: Any) -> Any:
        parts, path = get_args(of), self._path
        hooks = [_hook_of(part) for part in parts]
        if not isinstance(value, dict):
            raise Wrong(describe(value), "expected a mapping of keys to values")
        found = {}
        for name, member in value.items():
            place = (*path, name)
            read = self.member(member, hooks[1], parts[1], place)
            if (
                read is not _UNUSABLE
                and (word := self.member(name, hooks[0], parts[0], (*path, name))) is not _UNUSABLE
            ):
                found[word] = read
        return found


_READER: ContextVar[_Reader] = ContextVar("_READER")


@functools.cache
def _converter() -> cattrs.Converter:
    """Return the converter of all readers, which makes the hook of a type once."""
    converter = cattrs.Converter(detailed_validation=False)
    for takes, make_hook in (
        (attrs.has, lambda _: _bind_hook(_Reader.read_instance)),
        (is_literal, lambda _: _read_literal),
        (_is_mapping, lambda _: _bind_hook(_Reader.read_pairs)),
        (_is_list, lambda _: _bind_hook(_Reader.read_items)),
        (lambda of: isinstance(of, Given), lambda _: _bind_hook(_Reader.read_given)),
        (is_optional, _make_optional_hook),
        (lambda of: of is Any, lambda _: lambda value, _: value),
        (lambda of: kind_of(of) is not None, _make_kind_hook),
    ):
        converter.register_structure_hook_factory(takes, make_hook)
    for plain in PLAIN:
        converter.register_structure_hook(plain, _make_kind_hook(plain))
    return converter


def _hook_of(of: Any) -> StructureHook:
    return _converter().get_structure_hook(of)


@functools.cache
def _hook_of_key(field: Field) -> StructureHook:
    return _hook_of(field.type)


def _bind_hook(hook: Callable[..., Any]) -> StructureHook:
    """Return a hook of the converter that calls ``hook`` of the current reader."""
    return lambda value, of: hook(_READER.get(), value, of)


def _make_optional_hook(of: Any) -> StructureHook:
    of_value = present(of)
    hook = _hook_of(of_value)
    return lambda value, _: None if value is None else hook(value, of_value)


def _make_kind_hook(of: Any) -> StructureHook:
    kind = kind_of(of) or PLAIN[of]
    if (pick := kind.pick) is not None:
        return lambda value, _: _read_picked(value, kind, pick)
    return lambda value, _: value if kind.read is None else kind.read(value)


def _read_picked(value: Any, kind: Kind, pick: Callable[[Any], Any]) -> Any:
    if not kind.takes_text and (plain := plain_value(value)) in (0, 1):
        # True, false, 0 or 1; messages may repeat it. A variable can give true and false as 1 and 0.
        value = bool(plain) if isinstance(value, Expanded) and _has_booleans(kind) else plain
    if (picked := pick(value)) is not None:
        value = _hook_of(picked)(value, picked)
    return value if kind.read is None or value is _UNUSABLE else kind.read(value)


def _is_mapping(of: Any) -> bool:
    return get_origin(of) in (dict, Mapping)


def _is_list(of: Any) -> bool:
    return get_origin(of) is tuple


def _is_absent(member: Any, field: Field) -> bool:
    """Return whether a member is null, or an unresolved variable whose value would be no text."""
    return member is None or (isinstance(member, Unresolved) and _may_be_read_from_text(present(field.type)))


@functools.cache
def _may_be_read_from_text(of: Any) -> bool:
    """Return whether the text of a variable is valid as ``of``, and is then a number, a word or the like."""
    kind = kind_of(of) or PLAIN.get(of)
    if kind is None:
        return is_literal(of)
    return not kind.takes_text and (kind.shape is not None or any(map(_may_be_read_from_text, kind.parts)))


def _has_booleans(kind: Kind) -> bool:
    return any(part in (bool, Literal[False]) for part in kind.parts)


def _describe(value: Any, of: Any) -> str:
    """Describe a value; of one that may be a misplaced secret, only its type."""
    if getattr(present(of), "holds_secrets", False) and not isinstance(value, bool):
        if isinstance(value, str):
            return "text"
        if isinstance(value, int | float):
            return "a number"
    return describe(value)


def _example_key(fields: Mapping[str, Field]) -> str:
    names = [name for name, field in fields.items() if field.key.ignored is None]
    name = next((name for name in names if fields[name].required), names[0] if names else None)
    return f", such as {{{name}: …}}" if name else " of keys to values"


def _read_literal(value: Any, of: Any) -> Any:
    words = get_args(of)
    if isinstance(value, str) and value in words:
        return value
    raise Wrong(describe(value), one_of(words), nearest(value, words) if isinstance(value, str) else None)
