"""A client's request on its way to a provider: read once, then either edited in place or translated."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

import attrs
import msgspec

from gateway.routing import Target
from providers.apis import CODECS
from providers.call import Call
from providers.codec import Outgoing
from providers.fields import generic
from providers.messages import elsewhere
from providers.responses import read_continued
from providers.seal import PREFIX
from streams.errors import GatewayError, invalid
from streams.events import Api
from streams.surrogates import lone

T = TypeVar("T")

_SEAL = PREFIX.encode()
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
    def call(self) -> Call:
        """The request in neutral words. Raises ``GatewayError`` (400) with the path of a mistake."""
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise _malformed(error) from None
        if self.earlier:
            return read_continued(value, self.earlier)
        return CODECS[self.api].read_request(value)


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
        raise _malformed(error, body) from None
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


def too_deep() -> GatewayError:
    """How deep is too deep depends on how deep in the program a body is read: every border has to expect it."""
    return invalid("the request body is nested too deeply")


def _malformed(error: Exception, body: bytes = b"") -> GatewayError:
    if isinstance(error, RecursionError):
        return too_deep()
    if (place := lone(body)) is not None:
        half = body[place : place + 6].decode("ascii")
        return invalid(f"the request body has half of a surrogate pair ({half} at byte {place}), which is no text")
    return invalid(f"the request body is not valid JSON: {error}")


def edited(incoming: Incoming, target: Target) -> Outgoing:
    """The byte lane: ``model`` replaced where it must be, fields the provider refuses removed, seals resolved, what is
    for Anthropic alone taken out of a request to others.

    Everything else keeps its order and every value its bytes, because prompt caches key on the prefix.
    """
    changes: dict[str, Any] = {}
    dropped: list[str] = []
    if incoming.model != target.model:
        changes["model"] = target.model
    if _SEAL in incoming.body:
        restored, lost = CODECS[incoming.api].restore(decoded(incoming), target.recipient.issuer)
        changes |= restored
        dropped.extend(lost)
    quirks = target.recipient.quirks
    if incoming.api == "messages" and any(mark in incoming.body for mark in elsewhere.MARKS):
        adapted, lost = elsewhere.adapted(decoded(incoming) | changes, quirks)
        changes |= adapted
        dropped.extend(lost)
    refused = [name for name in quirks.refused_fields if name in incoming.members]
    if not changes and not refused:
        return Outgoing(incoming.body)
    members = {name: raw for name, raw in incoming.members.items() if name not in refused}
    members |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in changes.items() if value is not None}
    for name in (name for name, value in changes.items() if value is None):
        members.pop(name, None)
    return Outgoing(msgspec.json.encode(members), dropped=tuple(map(generic, [*refused, *dropped])))


def decoded(incoming: Incoming) -> dict[str, Any]:
    """The body as Python values. Raises ``GatewayError`` (400) for what is no JSON."""
    return parsed(incoming.body, dict[str, Any])


def parsed(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """JSON of a client's request as Python values. Raises ``GatewayError`` (400) for what is none."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _malformed(error) from None
