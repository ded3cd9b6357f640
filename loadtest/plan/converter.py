"""The converter of load scenarios: plain content into the classes that say which keys there are, or every mistake."""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NewType, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn

from configfile import kinds
from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.keys import Kind, kind_of
from configfile.kinds import PLAIN
from configfile.wording import Wrong, describe, nearest, one_of

T = TypeVar("T")

Duration = NewType("Duration", float)  # seconds
Wait = NewType("Wait", float)  # seconds, more than none
Size = NewType("Size", int)  # bytes
Count = NewType("Count", int)
Natural = NewType("Natural", int)  # 1 or more
Secret = NewType("Secret", str)  # text that no message may repeat
Url = NewType("Url", str)

_TEXTUAL: Final = (str, Secret, Url)


def _literal(value: Any, kind: Any) -> Any:
    words = get_args(kind)
    if isinstance(value, str) and value in words:
        return value
    raise Wrong(describe(value), one_of(words), nearest(value, words) if isinstance(value, str) else None)


def _takes_text(kind: Any) -> bool:
    return kind in _TEXTUAL or any(kind == text | None for text in _TEXTUAL) or get_origin(kind) is dict


def _mapping_first(cls: Any) -> Callable[[Any, Any], Any]:
    """A class from a mapping: null members count as absent, and so do variables nobody looked up where no text goes."""
    fields = {field.name: field for field in attrs.fields(cls)}
    fill = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
    needed = next((name for name, one in fields.items() if one.default is attrs.NOTHING), None)
    example = f", such as {{{needed}: …}}" if needed else " of keys to values"

    def absent(name: Any, value: Any) -> bool:
        if name not in fields:
            return False
        return value is None or (isinstance(value, Unresolved) and not _takes_text(fields[name].type))

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise Wrong(describe(value), f"this must be a mapping{example}")
        return fill({name: member for name, member in value.items() if not absent(name, member)}, cls)

    return structure


def _strict_tuple(kind: Any, of: cattrs.Converter) -> Callable[[Any, Any], Any]:
    fill = homogenous_tuple_structure_factory(kind, of)

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, list | tuple):
            return fill(value, kind)
        raise Wrong(describe(value), "this must be a list")

    return structure


def _strict_dict(kind: Any, of: cattrs.Converter) -> Callable[[Any, Any], Any]:
    fill = mapping_structure_factory(kind, of)

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, dict):
            return fill(value, kind)
        raise Wrong(describe(value), "this must be a mapping of keys to values")

    return structure


def _is(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


converter = cattrs.Converter(detailed_validation=True)
converter.register_structure_hook_factory(attrs.has, _mapping_first)
converter.register_structure_hook_factory(_is(tuple), _strict_tuple)
converter.register_structure_hook_factory(_is(dict), _strict_dict)
converter.register_structure_hook_func(_is(Literal), _literal)


def _hook(kind: Kind | None) -> Callable[[Any, Any], Any]:
    assert kind is not None
    assert kind.read is not None
    read = kind.read
    return lambda value, _: read(value)


for _kind, _read in (
    *((plain, kind) for plain, kind in PLAIN.items()),
    *((own, kind_of(getattr(kinds, own.__name__))) for own in (Duration, Wait, Size, Count, Natural, Secret, Url)),
):
    converter.register_structure_hook(_kind, _hook(_read))


def _unknown(kind: type, key: str) -> Wrong:
    names = tuple(field.name for field in attrs.fields(kind))
    near = nearest(key, names)
    return Wrong("unknown key", "", near, () if near else names)


@attrs.frozen
class ConversionFault:
    """A ``Wrong`` with its place."""

    path: Path
    wrong: Wrong
    missing: bool = False  # something required is not there


def structure(content: Any, kind: type[T]) -> T | tuple[ConversionFault, ...]:
    """``content`` as a ``kind``, or everything that keeps it from being one."""
    try:
        return converter.structure(content, kind)
    except (ClassValidationError, IterableValidationError, Wrong) as error:
        return tuple(_faults(error, ()))


def _faults(error: Exception, path: Path) -> Iterator[ConversionFault]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, others = error.group_exceptions()
        for inner, note in noted:
            yield from _faults(inner, (*path, note.name if hasattr(note, "name") else note.index))
        for inner in others:
            yield from _faults(inner, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield ConversionFault((*path, key), _unknown(error.cl, key))
    elif isinstance(error, Wrong):
        yield ConversionFault(path, error)
    elif isinstance(error, KeyError):
        yield ConversionFault(path, Wrong("missing", "this is required"), missing=True)
    else:
        raise error
