"""The JSON body of a request: its members as they came, each decoded at most once."""

from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from providers.neutral.fields import malformed

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()


class Body:
    """A JSON object. ``raw`` are its bytes, ``members`` those of its members' values, in order.

    A value is decoded when somebody asks for it, and is the same object ever after: nobody may change one in place."""

    __slots__ = ("_values", "members", "raw")

    def __init__(self, raw: bytes, members: Mapping[str, msgspec.Raw]) -> None:
        self.raw = raw
        self.members = members
        self._values: dict[str, Any] = {}

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """The body with the bytes ``raw``. Raises ``msgspec.DecodeError`` for what is no JSON object."""
        return cls(raw, _MEMBERS.decode(raw))

    def value(self, name: str) -> Any:
        """The member as Python values, ``None`` if it is not there. Raises ``GatewayError`` (400) for what is no text
        or nested too deeply."""
        if name in self._values or name not in self.members:
            return self._values.get(name)
        try:
            value = self._values[name] = _ANY.decode(self.members[name])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise malformed(error) from None
        return value

    def values(self) -> dict[str, Any]:
        """All members as Python values. Raises as ``value`` does."""
        return {name: self.value(name) for name in self.members}
