"""The declaration of a key: an attribute of an attrs class, with what the key means and how people see it."""

from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import attrs

Shape: TypeAlias = Mapping[str, Any]
"""A part of a JSON Schema."""

KEY: Final = "key"
"""The member of an attribute's metadata that makes a key of it."""


@attrs.frozen
class Key:
    """What is known of a key besides its type and its default.

    ``meaning`` is Markdown for the page of keys, and ``shown`` the default there; without it the page shows the default
    value, in backticks. ``name`` is the word in the file where the attribute has another. ``ignored`` says why a key is
    accepted without effect. ``shape`` narrows the JSON Schema that the type has, and ``needed`` says that null is no
    value; a key is ``required`` in a file also where the program has a default. ``example``: messages name the key
    where its mapping is missing. ``secret``: no output repeats a value. ``restart``: a running process keeps its value
    until it starts again. Differences of two files leave out what is not ``compared``, and write ``absent`` for
    ``None``."""

    meaning: str = ""
    shown: str | None = None
    name: str | None = None
    ignored: str | None = None
    shape: Shape = attrs.field(factory=dict)
    needed: bool = False
    required: bool = False
    example: bool = False
    secret: bool = False
    restart: bool = False
    compared: bool = True
    absent: str = "none"


def setting(
    meaning: str,
    default: Any = attrs.NOTHING,
    *,
    factory: Callable[[], Any] | None = None,
    eq: bool = True,
    **more: Any,
) -> Any:
    """Return an attribute that is a key of a file; one without ``default`` is required. ``more`` are attributes of
    ``Key``."""
    made = Key(meaning, **more)
    given = {"default": default} if factory is None else {"factory": factory}
    return attrs.field(**given, eq=eq, repr=not made.secret, metadata={KEY: made})


def ignored(why: str) -> Any:
    """Return a key that is accepted without effect, for the reason ``why``."""
    return attrs.field(default=None, metadata={KEY: Key(ignored=why)})


@attrs.frozen(eq=False)
class Kind:
    """How values of one kind are written in a file: ``Annotated[float, Kind(…)]`` is the type of a key.

    ``words`` describe a value on the page of keys, and ``shape`` is its JSON Schema. ``read`` turns a value of the file
    into one of the program, and raises ``Wrong``. Where a value may be of several types, ``pick`` returns the one to
    read it as; ``read`` then gets the result. ``spell`` returns the text of a value as the file has it. A kind with
    ``takes_text`` reads text with a variable in it that has no value; for others the key is then absent."""

    words: str
    read: Callable[[Any], Any] | None = None
    shape: Shape | None = None
    pick: Callable[[Any], Any] | None = None
    parts: tuple[Any, ...] = ()
    spell: Callable[[Any], str] | None = None
    takes_text: bool = False


@attrs.frozen
class Given:
    """The keys of ``cls`` that a file gives, as a mapping of attributes to values, in place of a whole ``cls``."""

    cls: type


@attrs.frozen
class Field:
    """A key as a class has it: its ``name`` in the file, the ``attribute`` and its ``type``."""

    name: str
    attribute: str
    type: Any
    default: Any
    key: Key

    @property
    def required(self) -> bool:
        return self.default is attrs.NOTHING or self.key.required

    @property
    def meaning(self) -> str:
        """The meaning of the key, and whether a running process takes a change over, in Markdown."""
        return " ".join(filter(None, (self.key.meaning, "A change needs a restart." if self.key.restart else "")))

    @property
    def needs_restart(self) -> bool:
        """True if a change of the key, or of one below it, needs a restart."""
        below = keys_of(self.type).values() if isinstance(self.type, type) and attrs.has(self.type) else ()
        return self.key.restart or any(field.key.restart for field in below)


def keys_of(cls: type) -> Mapping[str, Field]:
    """Return the keys that ``cls`` declares, by their names in a file."""
    return _keys_of(cls)


@cache
def _keys_of(cls: Any) -> Mapping[str, Field]:
    found = ((one, one.metadata[KEY]) for one in attrs.fields(cls) if KEY in one.metadata)
    fields = (Field(key.name or one.name, one.name, one.type, one.default, key) for one, key in found)
    return {field.name: field for field in fields}


@cache
def kind_of(of: Any) -> Kind | None:
    """Return the ``Kind`` that a type is annotated with."""
    return next((one for one in getattr(of, "__metadata__", ()) if isinstance(one, Kind)), None)


def present(of: Any) -> Any:
    """Return a type without ``None``."""
    if get_origin(of) not in (Union, UnionType):
        return of
    some = [part for part in get_args(of) if part is not type(None)]
    if len(some) != 1:
        raise TypeError(f"{of} is several types: annotate it with a Kind that picks one")
    return some[0]


def is_optional(of: Any) -> bool:
    """True if ``None`` is a value of the type."""
    return get_origin(of) in (Union, UnionType) and type(None) in get_args(of)


def is_literal(of: Any) -> bool:
    return get_origin(of) is Literal
