"""The classes of the tables that state where the texts of a request or response are.

A table is a ``Shape`` of the whole document. It maps each known member to the shape of its value, and each kind of
value to a ``Leaf``. A member that no table has is text of the part ``other``.
"""

from collections.abc import Mapping, Set
from typing import Final, Literal, TypeAlias

import attrs

from trigate.steps import Part

LeafKind: TypeAlias = Literal[
    "text", "json", "exempt", "url", "data", "foreign", "tokens", "name", "summary", "echo",
]  # fmt: skip
"""The treatment of a value.

- ``text`` is text. ``json`` is JSON text, also in a string. ``tokens`` is text or token ids.
- ``exempt`` is no text: a model, an id, an enum, a signature. ``echo`` repeats the request, or tokens of the text.
- ``url`` is an address or a data URL, ``data`` is base64.
- ``foreign`` is the id of turns that only the provider has, which steps must see.
- ``name`` is a tool's name, which is text only if no passage has it as its tool.
- ``summary`` is a seal, whose text is that of the gateway's own compaction.
"""


NO_TEXT: Final[frozenset[LeafKind]] = frozenset(("exempt", "foreign", "data", "summary"))
"""The kinds of strings that are no text; those of ``echo`` are text elsewhere."""


@attrs.frozen(eq=False)
class Leaf:
    """The treatment of a string, and of an object or array that its shape does not describe.

    ``part`` is ``None`` for the part of its message or block; that of an ``exempt`` leaf is for other values than
    strings. ``joins``: texts of adjacent items are one passage."""

    kind: LeafKind
    part: Part | None = None
    joins: bool = False


OTHER: Final = Leaf("text", "other")
EXEMPT_LEAF: Final = Leaf("exempt")


@attrs.frozen(eq=False)
class Scope:
    """Facts that an object's members state for the texts in it.

    ``tool`` are paths of the name of a called or defined tool, and ``tool_name`` is its name without them.
    ``call_id`` and ``result_of`` are the members with the id of a call. ``media`` are members with a media type;
    ``media_types`` maps their values to types, or is a prefix. ``sealed`` are paths of signatures and seals: if one is
    present, masked reasoning is removed with the object. Then ``removes`` lists the members to remove instead."""

    part: Part | None = None
    tool: tuple[str, ...] = ()
    tool_name: str | None = None
    call_id: tuple[str, ...] = ()
    result_of: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    media_types: Mapping[str, str] | str = ""
    sealed: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    is_plain: bool = attrs.field(init=False)
    """True if no member has to be read."""

    @is_plain.default
    def _reads_no_member(self) -> bool:
        return not (self.tool or self.call_id or self.result_of or self.media or self.sealed)


@attrs.frozen(eq=False)
class Cases:
    """The shape of an object by the value of its member ``by``, or ``default``."""

    by: str
    shapes: Mapping[str, "Shape"]
    default: "Shape"

    def shape_of(self, words: Set[str]) -> "Shape":
        """Return the shape of an object whose members ``by``, duplicates included, have these ``words``."""
        return self.shapes.get(next(iter(words)) if len(words) == 1 else "", self.default)


@attrs.frozen(eq=False)
class Shape:
    """The form of a value. ``leaf`` is for strings, and for objects and arrays without ``members`` or ``items``.

    ``turns``: the items are the turns of a conversation."""

    leaf: Leaf = OTHER
    members: "Mapping[str, Shape] | None" = None
    items: "Shape | None" = None
    scope: Scope | None = None
    cases: Cases | None = None
    turns: bool = False


def text(part: Part | None = None) -> Shape:
    """Return the shape of a text. A number there, or a value of another kind, is JSON text."""
    return Shape(Leaf("text", part))


def document(part: Part | None = None) -> Shape:
    """Return the shape of JSON text, as a value or in a string."""
    return Shape(Leaf("json", part))


def array(items: Shape, leaf: Leaf = OTHER, *, turns: bool = False) -> Shape:
    """Return the shape of an array, or of a string that is ``leaf``."""
    return Shape(leaf, items=items, turns=turns)


def tool(*names: str) -> Shape:
    """Return the shape of a tool's definition: all of it is one text. ``names`` are the paths of its name."""
    return Shape(Leaf("json", "tools"), scope=Scope("tools", tool=names))


def cases(by: str, default: Shape, shapes: Mapping[str, Shape], leaf: Leaf = OTHER) -> Shape:
    """Return the shape of an object that depends on its member ``by``."""
    return Shape(leaf, cases=Cases(by, shapes, default))


def record(scope: Scope | None = None, leaf: Leaf = OTHER, /, **members: Shape) -> Shape:
    """Return the shape of an object with ``members``, or of a string that is ``leaf``."""
    return Shape(leaf, members=members, scope=scope)


def exempt(*names: str) -> dict[str, Shape]:
    """Return members that are no text."""
    return dict.fromkeys(names, EXEMPT)


EXEMPT: Final = Shape(EXEMPT_LEAF)
TEXT: Final = text()
JOINED: Final = Shape(Leaf("text", joins=True))
"""A text that continues that of the item before it."""
ANYTHING: Final = Shape(OTHER)
URL: Final = Shape(Leaf("url"))
DATA: Final = Shape(Leaf("data"))
NAME: Final = Shape(Leaf("name"))
CHOICE: Final = Shape(Leaf("exempt", "tools"))
"""The shape of a choice of tools: a word, or an object with the names of tools."""
ECHO: Final = Shape(Leaf("echo"))
FAILURE: Final = Shape(
    TEXT.leaf, members=dict(message=TEXT, **exempt("type", "code", "param", "status", "reason", "domain", "error_code"))
)
"""The shape of an error."""
SUMMARY: Final = Shape(Leaf("summary"))
FOREIGN: Final = Shape(Leaf("foreign"))
EXEMPT_LIST: Final = array(EXEMPT, EXEMPT_LEAF)
MARK: Final = record(**exempt("type", "ttl", "mode", "scope"))
"""The shape of a cache mark."""
