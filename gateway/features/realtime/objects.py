"""JSON objects in frames, decoded only along the members that must be checked or replaced.

The provider must read what the gateway checked: a duplicate member, or one in another case, could otherwise select an
unchecked model."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, TypeVar, Union

import msgspec

from gateway.features.realtime.provider_websocket import Piece
from gateway.request.members import check_members, text_of
from streams.errors import GatewayError, invalid
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON, decode_or, tolerate_lone_surrogates

Tree: TypeAlias = Mapping[str, Union["Tree", None]]
"""The members to examine, by name: their own members, or ``None`` for a string."""

Members: TypeAlias = dict[str, msgspec.Raw]

T = TypeVar("T")

MIN_COUNTED: Final = 64 * 1024
"""The size in bytes from which on a frame's elements are counted before it is decoded."""

_OBJECT: Final = tolerate_lone_surrogates(msgspec.json.Decoder(Members).decode)


def read_object(body: bytes | msgspec.Raw) -> Members | None:
    """Return the members of a JSON object, ``None`` for anything else; half a surrogate pair becomes U+FFFD.

    Raises ``RecursionError`` for too deep nesting, ``GatewayError`` for too many elements."""
    if has_too_many_elements(body):
        raise GatewayError("too_large", f"the frame has more than {MAX_ELEMENTS} JSON elements")
    try:
        return _OBJECT(bytes(body))
    except RecursionError:
        raise
    except NOT_JSON:
        return None


def has_too_many_elements(body: bytes | msgspec.Raw) -> bool:
    """Return whether ``body`` has so many JSON elements that decoding would block the process for long."""
    return len(body) > MIN_COUNTED and has_more_elements(bytes(body), MAX_ELEMENTS)


def decode_frame(decode: Callable[[bytes], T], message: Piece) -> T | None:
    """Return a provider's ``message``, decoded by ``decode``, or ``None`` if it is something else."""
    body = message.encode() if isinstance(message, str) else message
    return None if has_too_many_elements(body) else decode_or(decode, body, None)


class ExaminedObject:
    """A JSON object whose members in ``tree`` are decoded, and can be replaced.

    ``texts`` are the strings found, by path (``session.model``); ``at`` precedes each path. ``frame`` is the encoded
    frame that it was read from."""

    frame: bytes = b""

    @classmethod
    def of_frame(cls, message: Piece, tree: Tree) -> "ExaminedObject":
        """Return the object in a client's ``message``. Raises ``GatewayError`` (400) if it is no JSON object."""
        body = message.encode() if isinstance(message, str) else message
        if (members := read_object(body)) is None:
            raise invalid("the frame must be a JSON object in UTF-8")
        check_members(body, members)
        found = cls(members, tree)
        found.frame = body
        return found

    def __init__(self, members: Members, tree: Tree, at: str = "") -> None:
        """Raise ``GatewayError`` (400) for a member of the tree in another case, or a leaf without a string."""
        self.members = members
        self._inner: dict[str, ExaminedObject] = {}
        self.texts: dict[str, str] = {}
        self._leaves: dict[str, str] = {}
        for name in members:
            if name not in tree and name.lower() in tree:
                raise invalid(f"{at}{name[:100]} must be spelled {name.lower()}", f"{at}{name[:100]}")
        for name, below in tree.items():
            if name not in members:
                continue
            if below is not None:
                if (inner := read_object(members[name])) is not None:
                    self._examine(name, ExaminedObject(inner, below, f"{at}{name}."))
            elif (text := text_of(members[name])) is not None:
                self.texts[f"{at}{name}"] = text
                self._leaves[f"{at}{name}"] = name
            elif members[name] != msgspec.Raw(b"null"):
                raise invalid(f"{at}{name} must be a string", f"{at}{name}")

    def _examine(self, name: str, inner: "ExaminedObject") -> None:
        self._inner[name] = inner
        self.texts |= inner.texts

    def put(self, at: str, text: str) -> None:
        """Replace the string at the path ``at``."""
        if at in self._leaves:
            self.members[self._leaves[at]] = msgspec.Raw(msgspec.json.encode(text))
            return
        for inner in self._inner.values():
            if at in inner.texts:
                inner.put(at, text)

    def encode(self) -> bytes:
        """Return the object as JSON: each examined member appears once, all others keep their bytes."""
        return msgspec.json.encode(
            {name: self._inner[name].raw() if name in self._inner else raw for name, raw in self.members.items()}
        )

    def encode_as(self, message: Piece) -> Piece:
        """Return the object as JSON, as text if ``message`` is text."""
        body = self.encode()
        return body.decode() if isinstance(message, str) else body

    def raw(self) -> msgspec.Raw:
        return msgspec.Raw(self.encode())
