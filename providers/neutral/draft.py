"""A client's own request: its members, each decoded at most once (``Body``), edits for its provider (``Draft``), also
of blocks in messages, and the list of these edits.

Members keep their order and bytes, because prompt caches depend on a request's prefix. Every edit is listed:
``x-trigate-dropped`` and the log list the losses, ``x-trigate-adapted`` the new forms. Strict mode refuses losses that
may change the answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Self, TypeAlias

import attrs
import msgspec

from providers.neutral.fields import Drops, generic_path, join_path, malformed_error, parse_json
from providers.neutral.request import Parameter
from streams.surrogates import NOT_JSON

Why: TypeAlias = Literal["translation", "provider", "rejected", "seal", "operator"]
"""The reason of an edit.

``translation``: the provider's API cannot express it. ``provider``: the provider or model is known to refuse it.
``rejected``: the provider has rejected it. ``seal``: it is sealed reasoning of another provider. ``operator``: the
configuration sets or drops it.
"""


@attrs.frozen(repr=False)
class Edit:
    """One change, at the client's ``path`` with ``[]`` for array indices.

    ``lost``: the provider does not get the client's meaning. ``form``: the new form, ``->NAME`` or ``=VALUE``.
    """

    path: str
    lost: bool = True
    form: str = ""
    why: Why = "provider"


def losses_of(paths: Iterable[str], why: Why) -> tuple[Edit, ...]:
    return tuple(Edit(path, why=why) for path in paths)


def raised_limit_edit(limit: Parameter | None, sent: object) -> tuple[Edit, ...]:
    """Return the edit of the client's token ``limit`` if ``sent`` is higher, to include the reasoning."""
    if limit is None or not isinstance(sent, int) or sent <= max(1, limit.value):
        return ()
    return (Edit(limit.at, lost=False, form=f"={sent}", why="translation"),)


def dropped_paths(edits: Iterable[Edit]) -> tuple[str, ...]:
    """Return the lost paths, each once."""
    return Drops(edit.path for edit in edits if edit.lost).paths()


def adapted_paths(edits: Iterable[Edit]) -> tuple[str, ...]:
    """Return paths with their new forms: ``max_tokens->max_completion_tokens``."""
    return tuple(dict.fromkeys(edit.path + edit.form for edit in edits if edit.form))


Changes: TypeAlias = tuple[Mapping[str, Any], tuple[str, ...]]
"""The changed members of a request, and the paths of dropped parts."""

ChangeBlocks: TypeAlias = Callable[[Sequence[Any], str], tuple[list[Any], Iterable[str]]]
"""A function that returns the new blocks at a path, and the paths of lost ones."""


def change_messages(body: Mapping[str, Any], member: str, inner: str, change: ChangeBlocks) -> Changes:
    """Return the changed members after ``change`` of the list ``inner`` in each message of ``member``.

    Messages that become empty are removed, because no API accepts them.
    """
    messages = body.get(member)
    if not isinstance(messages, list):
        return {}, ()
    written: list[Any] = []
    dropped: dict[str, None] = {}
    is_changed = False
    for i, message in enumerate(messages):
        blocks = message.get(inner) if isinstance(message, dict) else None
        kept, lost = (
            change(blocks, join_path(join_path(member, i), inner)) if isinstance(blocks, list) else (blocks, ())
        )
        if kept == blocks:
            written.append(message)
            continue
        is_changed = True
        dropped |= dict.fromkeys(map(generic_path, lost))
        if kept:
            written.append({**message, inner: kept})
    return ({member: written} if is_changed else {}), tuple(dropped)


def each_block(change: Callable[[dict[str, Any]], list[Any]], loss_member: str = "") -> ChangeBlocks:
    """Return a change that replaces each block by ``change(block)``.

    Empty replacements are reported as losses, at the block's member ``loss_member`` if given.
    """

    def change_all(blocks: Sequence[Any], at: str) -> tuple[list[Any], list[str]]:
        kept: list[Any] = []
        lost: list[str] = []
        for i, block in enumerate(blocks):
            into = change(block) if isinstance(block, dict) else [block]
            if not into:
                lost.append(join_path(join_path(at, i), loss_member) if loss_member else join_path(at, i))
            kept.extend(into)
        return kept, lost

    return change_all


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

    __slots__ = ("_body", "_edits", "_members", "asks_usage", "changed", "mentions")

    def __init__(self, body: Body) -> None:
        self._body = body
        self.mentions = body.mentions
        """Return whether the request contains a part, a cheap check before decoding a member."""
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
