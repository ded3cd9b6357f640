"""A client's own request, edited for a provider of the same API: members keep their order, values their bytes.

Prompt caches key on the prefix of a request, so nothing is decoded but what is edited. Every edit is listed: the header
``x-trigate-dropped`` names what was lost, ``x-trigate-adapted`` what goes out in another form.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import attrs
import msgspec

from providers.neutral.fields import Drops, generic, parsed


@attrs.frozen
class Edit:
    """One change. ``path`` is the client's place, array indices as ``[]``. ``lost``: something that the client said
    does not reach the provider as it was meant. ``form`` says how it goes out instead: ``->NAME`` or ``=VALUE``."""

    path: str
    lost: bool = True
    form: str = ""


class Draft:
    """A request's top-level members while they are edited, and the list of what was done."""

    __slots__ = ("_body", "_edits", "_members", "asks_usage", "changed")

    def __init__(self, members: Mapping[str, Any], body: bytes) -> None:
        """``members``: the top-level members of the JSON ``body``, values as ``msgspec.Raw``, in order."""
        self._body = body
        self._members = dict(members)
        self._edits: list[Edit] = []
        self.changed = False
        self.asks_usage = False  # the provider is asked for token counts that the client has not asked for

    @classmethod
    def of(cls, body: bytes) -> Self:
        """A draft of the JSON object ``body``."""
        return cls(msgspec.json.decode(body, type=dict[str, msgspec.Raw]), body)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def mentions(self, part: bytes) -> bool:
        """Whether ``part`` stands anywhere in what the client sent: cheap, before a member is decoded for it."""
        return part in self._body

    def value(self, name: str) -> Any:
        """The member as Python values, ``None`` if it is not there. Raises ``GatewayError`` (400) for what is no text
        or nested too deeply."""
        value = self._members.get(name)
        return parsed(value, Any) if isinstance(value, msgspec.Raw) else value

    def values(self) -> dict[str, Any]:
        """All members as Python values. Raises as ``value`` does."""
        return {name: self.value(name) for name in self._members}

    def items(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects in the array ``name`` with their indices, their members as ``msgspec.Raw``. Raises as ``value``
        does."""
        for index, item in enumerate(self._array(name)):
            if bytes(memoryview(item)[:1]) == b"{":
                yield index, parsed(item, dict[str, msgspec.Raw])

    def put_items(self, name: str, changed: Mapping[int, Mapping[str, Any]]) -> None:
        """The array ``name`` with other objects at the indices of ``changed``; the rest keeps its bytes."""
        items = [changed.get(index, item) for index, item in enumerate(self._array(name))]
        self.put(name, msgspec.Raw(msgspec.json.encode(items)))

    def _array(self, name: str) -> list[Any]:
        value = self._members.get(name)
        raw = value if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
        return parsed(raw, list[msgspec.Raw]) if bytes(memoryview(raw)[:1]) == b"[" else []

    def put(self, name: str, value: Any) -> None:
        """Set the member ``name``, in its place if it is there; ``None`` takes it out."""
        if value is not None:
            self._members[name] = value
        elif name in self._members:
            del self._members[name]
        self.changed = True

    def rename(self, name: str, other: str) -> None:
        """The member ``name`` goes out as ``other``, at the same place; it is dropped where ``other`` is there too, and
        not null."""
        if self.value(other) is not None:
            self.drop(name)
            return
        others = ((key, value) for key, value in self._members.items() if key != other)
        self._members = {other if key == name else key: value for key, value in others}
        self.note(Edit(name, lost=False, form=f"->{other}"))
        self.changed = True

    def drop(self, *names: str) -> None:
        """Take members out, and list that they are lost."""
        for name in names:
            if name in self._members:
                self.put(name, None)
                self.note(Edit(name))

    def replace(self, changes: Mapping[str, Any], lost: Iterable[str] = ()) -> None:
        """``put`` several members; ``lost`` are the paths of what that loses."""
        for name, value in changes.items():
            self.put(name, value)
        for path in lost:
            self.note(Edit(generic(path)))

    def note(self, edit: Edit) -> None:
        """Add to the list of edits."""
        self._edits.append(edit)

    def encode(self) -> bytes:
        """The request's JSON."""
        return msgspec.json.encode(self._members) if self.changed else self._body

    @property
    def dropped(self) -> tuple[str, ...]:
        """The paths of what was lost, each once."""
        return Drops(edit.path for edit in self._edits if edit.lost).paths() if self._edits else ()

    @property
    def adapted(self) -> tuple[str, ...]:
        """What goes out in another form, and in which."""
        return tuple(dict.fromkeys(edit.path + edit.form for edit in self._edits if edit.form)) if self._edits else ()
