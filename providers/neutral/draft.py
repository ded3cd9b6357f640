"""A client's own request: its members, each decoded at most once (``Body``), and edits for its provider (``Draft``).

Members keep their order and bytes, because prompt caches depend on a request's prefix. Every edit is listed.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Self

import msgspec

from providers.neutral.edits import Edit, Why
from providers.neutral.fields import generic_path, malformed_error, parse_json
from streams.surrogates import NOT_JSON

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()


class Body:
    """A JSON object with its ``raw`` bytes and those of its ``members`` in order.

    Each value is decoded once, at its first use, and must not be changed.
    """

    __slots__ = ("_mentioned", "_values", "members", "raw")

    def __init__(self, raw: bytes, members: Mapping[str, msgspec.Raw]) -> None:
        self.raw = raw
        self.members = members
        self._values: dict[str, Any] = {}
        self._mentioned: dict[bytes, bool] = {}

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Return the body with the bytes ``raw``. Raises ``msgspec.DecodeError`` unless it is a JSON object."""
        return cls(raw, _MEMBERS.decode(raw))

    def mentions(self, part: bytes) -> bool:
        """Return whether the raw bytes contain ``part``. A long request is searched once for each part."""
        found = self._mentioned.get(part)
        if found is None:
            found = self._mentioned[part] = part in self.raw
        return found

    def value(self, name: str) -> Any:
        """Return a member as Python values, ``None`` if it is absent.

        Raises ``GatewayError`` (400) for invalid text or deep nesting.
        """
        if name in self._values or name not in self.members:
            return self._values.get(name)
        try:
            value = self._values[name] = _ANY.decode(self.members[name])
        except NOT_JSON as error:
            raise malformed_error(error) from None
        return value

    def values(self) -> dict[str, Any]:
        """Return all members as Python values. Raises as ``value`` does."""
        return {name: self.value(name) for name in self.members}


class _Items(list[Any]):
    """An array's items, some still ``msgspec.Raw``."""


class Draft:
    """The top-level members of a request under edit, and the edits."""

    __slots__ = ("_body", "_edits", "_members", "asks_usage", "changed")

    def __init__(self, body: Body) -> None:
        self._body = body
        self._members: dict[str, Any] = dict(body.members)
        self._edits: list[Edit] = []
        self.changed = False
        self.asks_usage = False  # the gateway, not the client, requests token counts

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Return a draft of the JSON object ``body``."""
        return cls(Body.of(body))

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def mentions(self, part: bytes) -> bool:
        """Return whether the request contains ``part``, a cheap check before decoding a member."""
        return self._body.mentions(part)

    def value(self, name: str) -> Any:
        """Return a member as Python values, which must not be changed; ``None`` if it is absent.

        Raises ``GatewayError`` (400) for invalid text or deep nesting.
        """
        value = self._members.get(name)
        if isinstance(value, msgspec.Raw):
            return self._body.value(name) if value is self._body.members.get(name) else parse_json(value, Any)
        return parse_json(msgspec.json.encode(value), Any) if isinstance(value, _Items) else value

    def raw(self, name: str) -> msgspec.Raw | None:
        """Return a member as undecoded JSON, ``None`` if it is absent."""
        value = self._members.get(name)
        if value is None or isinstance(value, msgspec.Raw):
            return value
        return msgspec.Raw(msgspec.json.encode(value))

    def values(self) -> dict[str, Any]:
        """Return all members as Python values. Raises as ``value`` does."""
        return {name: self.value(name) for name in self._members}

    def items(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the objects in the array ``name`` with their indices, and with ``msgspec.Raw`` members.

        Raises as ``value`` does.
        """
        for index, item in enumerate(self._array(name)):
            if bytes(memoryview(item)[:1]) == b"{":
                yield index, parse_json(item, dict[str, msgspec.Raw])

    def put_items(self, name: str, changed: Mapping[int, Mapping[str, Any]]) -> None:
        """Replace the objects at the indices of ``changed`` in the array ``name``; others keep their bytes."""
        self.put(name, _Items(changed.get(index, item) for index, item in enumerate(self._array(name))))

    def _array(self, name: str) -> list[Any]:
        value = self._members.get(name)
        raw = value if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
        return parse_json(raw, list[msgspec.Raw]) if bytes(memoryview(raw)[:1]) == b"[" else []

    def put(self, name: str, value: Any) -> None:
        """Set the member ``name`` in its place, or remove it with ``None``."""
        if value is not None:
            self._members[name] = value
        elif name in self._members:
            del self._members[name]
        self.changed = True

    def rename(self, name: str, other: str) -> None:
        """Rename a member in its place, or drop it if ``other`` is present and not null."""
        if self.value(other) is not None:
            self.drop(name)
            return
        others = ((key, value) for key, value in self._members.items() if key != other)
        self._members = {other if key == name else key: value for key, value in others}
        self.note(Edit(name, lost=False, form=f"->{other}"))
        self.changed = True

    def drop(self, *names: str) -> None:
        """Remove members that the provider refuses, and list them as lost."""
        for name in names:
            if name in self._members:
                self.put(name, None)
                self.note(Edit(name))

    def replace(self, changes: Mapping[str, Any], lost: Iterable[str] = (), why: Why = "provider") -> None:
        """Set several members, and list the paths of ``lost`` parts with the reason ``why``."""
        for name, value in changes.items():
            self.put(name, value)
        for path in lost:
            self.note(Edit(generic_path(path), why=why))

    def note(self, edit: Edit) -> None:
        """Add an edit to the list."""
        self._edits.append(edit)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits in order."""
        return tuple(self._edits)

    def encode(self) -> bytes:
        """Return the request's JSON."""
        return msgspec.json.encode(self._members) if self.changed else self._body.raw


def ask_usage(draft: Draft) -> None:
    """Request the token counts of an OpenAI stream without the client's request for them.

    The relay removes the extra event again.
    """
    options = draft.value("stream_options")
    if draft.value("stream") is not True or not isinstance(options, dict | None):
        return
    if options is None or options.get("include_usage") is not True:
        draft.put("stream_options", {**(options or {}), "include_usage": True})
        draft.note(Edit("stream_options.include_usage", lost=False, form="=true"))
        draft.asks_usage = True
