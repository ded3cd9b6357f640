"""Declarations of keys: attributes of attrs classes with a meaning and a way to write the value."""

from collections.abc import Callable, Mapping
from functools import cache
from operator import itemgetter
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs

P = TypeVar("P")

Shape: TypeAlias = Mapping[str, Any]
"""A part of a JSON Schema."""

KEY: Final = "key"
"""The member of an attribute's metadata with its ``Key``."""


@attrs.frozen(repr=False)
class Key:
    """The properties of a key besides its type and default.

    - ``meaning``: Markdown for the page of keys.
    - ``shown``: the default on that page, if not the value in backticks, or ``none`` for ``None`` and empty lists.
    - ``name``: the word in the file, if not the attribute's name.
    - ``ignored``: the reason why the key has no effect.
    - ``shape``: a narrower JSON Schema than the type's.
    - ``needed``: null is no value.
    - ``may_be_empty``: null has a meaning, so it has no warning.
    - ``required``: the file needs the key, even if the program has a default.
    - ``secret``: output never repeats the value.
    - ``restart``: a change needs a restart.
    - ``compared``: differences of two files include the key.
    - ``absent``: the text for ``None`` in such differences.
    - ``items``: the word for an item of the list, whose items differences compare by their names. Their order, too, if
      ``ordered``.
    - ``numbered``: differences compare the items of the list by their numbers.
    - ``told``: returns the text of a new value in such differences.
    - ``admits``: the key decides whether clients need a key.
    """

    meaning: str = ""
    shown: str | None = None
    name: str | None = None
    ignored: str | None = None
    shape: Shape = attrs.field(factory=dict)
    needed: bool = False
    may_be_empty: bool = False
    required: bool = False
    secret: bool = False
    restart: bool = False
    compared: bool = True
    absent: str = "none"
    items: str = ""
    ordered: bool = False
    numbered: bool = False
    told: Callable[[Any], str] | None = None
    admits: bool = False


def setting(
    meaning: str,
    default: Any = attrs.NOTHING,
    *,
    factory: Callable[[], Any] | None = None,
    eq: bool = True,
    **more: Any,
) -> Any:
    """Return an attribute for a key of a file, required without a ``default``. ``more`` are attributes of ``Key``."""
    made = Key(meaning, **more)
    given = {"default": default} if factory is None else {"factory": factory}
    return attrs.field(**given, eq=eq, repr=not made.secret, metadata={KEY: made})


def ignored(why: str) -> Any:
    """Return an attribute for a key without effect, with the reason ``why``."""
    return attrs.field(default=None, metadata={KEY: Key(ignored=why)})


@attrs.frozen(eq=False, repr=False)
class Kind:
    """A way to write values in a file: ``Annotated[float, Kind(…)]`` is the type of a key.

    - ``words``: a description of a value for the page of keys.
    - ``read``: converts a value of the file, or raises ``Wrong``.
    - ``shape``: the JSON Schema of a value.
    - ``pick``: of several types, returns the one of a value; ``read`` then gets the result.
    - ``spell``: returns the text of a value as in the file.
    - ``takes_text``: reads text with an unresolved variable; for other kinds the key is then absent.
    """

    words: str
    read: Callable[[Any], Any] | None = None
    shape: Shape | None = None
    pick: Callable[[Any], Any] | None = None
    parts: tuple[Any, ...] = ()
    spell: Callable[[Any], str] | None = None
    takes_text: bool = False


@attrs.frozen(repr=False)
class Given:
    """A mapping of attributes to values for the keys of ``cls`` in a file, instead of a whole ``cls``."""

    cls: type


@attrs.frozen(eq=False, repr=False)
class Field:
    """A key of a class: its ``name`` in the file, ``attribute`` and ``type``, and the class's ``part`` with it."""

    name: str
    attribute: str
    type: Any
    default: Any
    key: Key
    part: type | None = None
    required: bool = attrs.field(init=False)

    @required.default
    def _is_required(self) -> bool:
        return self.default is attrs.NOTHING or self.key.required

    def value_in(self, whole: Any) -> Any:
        """Return the value of the key in an instance of the class."""
        return getattr(whole if self.part is None else part_of(whole, self.part), self.attribute)

    @property
    def meaning(self) -> str:
        """The meaning of the key in Markdown, with a note if a change needs a restart."""
        return " ".join(filter(None, (self.key.meaning, "A change needs a restart." if self.key.restart else "")))

    @property
    def needs_restart(self) -> bool:
        """Whether a change of the key, or of one below it, needs a restart."""
        below = keys_of(self.type).values() if isinstance(self.type, type) and attrs.has(self.type) else ()
        return self.key.restart or any(field.key.restart for field in below)


def keys_of(cls: type) -> Mapping[str, Field]:
    """Return the keys of ``cls`` by their names in a file, those of its parts last."""
    return _keys_of(cls)


@cache
def _keys_of(cls: Any) -> Mapping[str, Field]:
    fields = (*_own_fields(cls), *(field for part in parts_of(cls) for field in _own_fields(part, part)))
    return {field.name: field for field in fields}


def _own_fields(cls: Any, part: type | None = None) -> tuple[Field, ...]:
    found = ((one, one.metadata[KEY]) for one in attrs.fields(cls) if KEY in one.metadata)
    return tuple(Field(key.name or one.name, one.name, one.type, one.default, key, part) for one, key in found)


_PARTS: Final[dict[type, tuple[tuple[int, type], ...]]] = {}


def add_part(cls: type, part: type, number: int = 0) -> None:
    """Let ``cls`` and its subclasses have the keys of ``part``, too, which all have defaults. Call it before anything
    is read that has them.

    The parts of a class are in the order of their ``number``. The instances of ``cls`` have an attribute ``parts``: the
    instances of their parts by class."""
    _PARTS[cls] = tuple(sorted((*_PARTS.get(cls, ()), (number, part)), key=itemgetter(0)))
    _keys_of.cache_clear()
    _parts_of.cache_clear()


def parts_of(cls: type) -> tuple[type, ...]:
    """Return the parts of ``cls`` and of its bases."""
    return _parts_of(cls)


@cache
def _parts_of(cls: Any) -> tuple[type, ...]:
    return tuple(part for base in cls.__mro__ for _, part in _PARTS.get(base, ()))


def part_of(whole: Any, part: type[P]) -> P:
    """Return the values of the keys of ``part`` in ``whole``."""
    found = whole.parts.get(part)
    return _default_of(part) if found is None else found  # type: ignore[no-any-return, arg-type]


@cache
def _default_of(part: Any) -> Any:
    return part()


def value_of(whole: Any, name: str, default: Any = None) -> Any:
    """Return the value of the key ``name``, ``default`` if neither the class of ``whole`` nor a part has this key."""
    field = keys_of(type(whole)).get(name)
    return default if field is None else field.value_in(whole)


def evolve(whole: P, **values: Any) -> P:
    """Return ``whole`` with ``values`` as its attributes. Most of thousands of items have these already."""
    same = all(getattr(whole, name) is value for name, value in values.items())
    return whole if same else attrs.evolve(whole, **values)  # type: ignore[misc]


def with_part(whole: P, value: Any) -> P:
    """Return ``whole`` with the part ``value``."""
    return with_parts(whole, {**whole.parts, type(value): value})  # type: ignore[attr-defined]


def with_parts(whole: P, values: Mapping[type, Any]) -> P:
    """Return ``whole`` with ``values`` as its parts."""
    return attrs.evolve(whole, parts=without_default_parts(values))  # type: ignore[misc]


def without_default_parts(values: Mapping[type, Any]) -> dict[type, Any]:
    """Return the parts that differ from their defaults, so that equal wholes have equal parts."""
    return {part: value for part, value in values.items() if value != _default_of(part)}


def parts() -> Any:
    """Return the attribute of a class for its parts."""
    return attrs.field(factory=dict, hash=False, repr=False)


@cache
def kind_of(of: Any) -> Kind | None:
    """Return the ``Kind`` of an annotated type."""
    return next((one for one in getattr(of, "__metadata__", ()) if isinstance(one, Kind)), None)


@cache
def present(of: Any) -> Any:
    """Return a type without ``None``."""
    if get_origin(of) not in (Union, UnionType):
        return of
    some = [part for part in get_args(of) if part is not type(None)]
    if len(some) != 1:
        raise TypeError(f"{of} is several types: annotate it with a Kind that picks one")
    return some[0]


def is_optional(of: Any) -> bool:
    """Return whether ``None`` is a value of the type."""
    return get_origin(of) in (Union, UnionType) and type(None) in get_args(of)


def fixed_length(of: Any) -> int | None:
    """Return the number of items of a tuple type, ``None`` for any number."""
    parts = get_args(of)
    return None if Ellipsis in parts else len(parts)


def is_literal(of: Any) -> bool:
    return get_origin(of) is Literal
