"""JSON objects in frames: read as deep as something is decided by, written anew so far and no deeper.

What is decided by must be what the provider reads: a member that stands twice, or in another case, would let a client
have one model checked and another one used.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias, Union

import msgspec

from streams.errors import GatewayError, invalid
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import reading

Tree: TypeAlias = Mapping[str, Union["Tree", None]]
"""Names of members that are looked into; ``None`` for those that are looked at."""

Members: TypeAlias = dict[str, msgspec.Raw]

COUNTED: Final = 64 * 1024
"""Bytes beyond which the elements of a frame are counted before it is decoded."""

_OBJECT: Final = reading(msgspec.json.Decoder(Members).decode)
_STRING: Final = msgspec.json.Decoder(str)


def read_object(body: bytes | msgspec.Raw) -> Members | None:
    """The members of a JSON object, ``None`` for anything else. Half a character in it is read as U+FFFD. Raises
    ``RecursionError`` where it is nested too deeply, ``GatewayError`` where it holds more than is looked through."""
    if is_too_much(body):
        raise GatewayError("too_large", f"the frame holds more than {MAX_ELEMENTS} JSON elements")
    try:
        return _OBJECT(bytes(body))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_too_much(body: bytes | msgspec.Raw) -> bool:
    """Whether decoding would keep the interpreter for itself for long."""
    return len(body) > COUNTED and has_more_elements(bytes(body), MAX_ELEMENTS)


def text_of(raw: msgspec.Raw | None) -> str | None:
    """The string that ``raw`` is."""
    if raw is None:
        return None
    try:
        return _STRING.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class Unfolded:
    """An object that is taken apart along ``tree``. ``texts`` are the strings found at its leaves, by path."""

    def __init__(self, members: Members, tree: Tree, at: str = "") -> None:
        """Raises ``GatewayError`` (400) for a member of the tree that is written in another case, or no string at a
        leaf."""
        self._members = members
        self._inner: dict[str, Unfolded] = {}
        self.texts: dict[str, str] = {}
        self._leaves: dict[str, str] = {}
        for name in members:
            if name not in tree and name.lower() in tree:
                raise invalid(f"{at}{name[:100]} must be written {name.lower()}", f"{at}{name[:100]}")
        for name, below in tree.items():
            if name not in members:
                continue
            if below is not None:
                if (inner := read_object(members[name])) is not None:
                    self._unfold(name, Unfolded(inner, below, f"{at}{name}."))
            elif (text := text_of(members[name])) is not None:
                self.texts[f"{at}{name}"] = text
                self._leaves[f"{at}{name}"] = name
            elif members[name] != msgspec.Raw(b"null"):
                raise invalid(f"{at}{name} must be a string", f"{at}{name}")

    def _unfold(self, name: str, inner: "Unfolded") -> None:
        self._inner[name] = inner
        self.texts |= inner.texts

    def put(self, at: str, text: str) -> None:
        """Have ``text`` at the leaf ``at``."""
        if at in self._leaves:
            self._members[self._leaves[at]] = msgspec.Raw(msgspec.json.encode(text))
            return
        for inner in self._inner.values():
            if at in inner.texts:
                inner.put(at, text)

    def folded(self) -> bytes:
        """The object with each member that was looked into or at written once; all others keep their bytes."""
        return msgspec.json.encode(
            {name: self._inner[name].raw() if name in self._inner else raw for name, raw in self._members.items()}
        )

    def raw(self) -> msgspec.Raw:
        return msgspec.Raw(self.folded())
