"""A client's request as it came in, read once."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs
import msgspec

from providers.apis import CODECS
from providers.neutral.body import Body
from providers.neutral.fields import malformed, parsed
from providers.neutral.request import Request
from providers.responses import read_continued
from streams.errors import GatewayError, invalid
from streams.events import Api

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOOL = msgspec.json.Decoder(bool | None)
_STRING = msgspec.json.Decoder(str | None)

# What a request cannot do without, checked before anybody is called; the rest is for the codecs or the provider.
# Per API: the member, what its JSON may begin with, in words, whether it may be absent (Responses: a stored prompt).
_CONVERSATION: Mapping[Api, tuple[str, tuple[bytes, ...], str, bool]] = {
    "chat": ("messages", (b"[",), "an array", False),
    "messages": ("messages", (b"[",), "an array", False),
    "responses": ("input", (b"[", b'"'), "a string or an array", True),
}


@attrs.frozen
class Incoming:
    """A request as it came. ``members`` are its top-level members in order, each value's bytes untouched; ``earlier``
    are the Responses items that its conversation holds already."""

    api: Api
    body: bytes
    members: Mapping[str, msgspec.Raw]
    model: str | None
    stream: bool
    earlier: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)

    @cached_property
    def size(self) -> int:
        """Bytes of the whole conversation."""
        return len(self.body) + (len(msgspec.json.encode(self.earlier)) if self.earlier else 0)

    @cached_property
    def request(self) -> Request:
        """The request in neutral words. Raises ``GatewayError`` (400) with the path of a mistake."""
        value = self.values()
        return read_continued(value, self.earlier) if self.earlier else CODECS[self.api].read_request(value)

    @cached_property
    def json(self) -> Body:
        """Its members, each decoded once."""
        return Body(self.body, self.members)

    def values(self) -> dict[str, Any]:
        """All members as Python values. Raises ``GatewayError`` (400) for what is no JSON of text, and says where."""
        try:
            return self.json.values()
        except GatewayError:
            return parsed(self.body, dict[str, Any])  # it raises, and counts from the body's first byte


def read_incoming(api: Api, body: bytes) -> Incoming:
    """``body`` as a request of ``api``. Raises ``GatewayError`` (400) for what is no JSON object or lacks a member."""
    try:
        body.decode()
        members = _MEMBERS.decode(body)
    except UnicodeDecodeError as error:
        raise invalid(f"the request body is not UTF-8 (byte {error.start})") from None
    except msgspec.ValidationError:
        raise invalid("the request body must be a JSON object") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error, body) from None
    model = _member(members, "model", _STRING, "a string")
    stream = _member(members, "stream", _BOOL, "a boolean")
    name, starts, kind, optional = _CONVERSATION[api]
    first = bytes(memoryview(members.get(name, b"null"))[:1])  # of what may be megabytes
    if first == b"n":
        if not optional:
            raise invalid(f"{name} is required", name)
    elif first not in starts:
        raise invalid(f"{name} must be {kind}", name)
    return Incoming(api, body, members, model, bool(stream))


def _member(members: Mapping[str, msgspec.Raw], name: str, decoder: msgspec.json.Decoder[Any], kind: str) -> Any:
    raw = members.get(name)
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except msgspec.MsgspecError:
        raise invalid(f"{name} must be {kind}", name) from None
