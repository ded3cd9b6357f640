"""A client's request, parsed once."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import attrs
import msgspec

from gateway.request.members import BOOLEAN, STRING, check_members, decode_member
from gateway.request.structure import check_text
from providers.apis import CODECS
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import Body
from providers.neutral.fields import malformed_error, parse_json
from providers.neutral.hints import losses
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from providers.neutral.values import as_objects, as_string
from providers.neutral.wire_api import Conversation
from providers.responses import REPLACED, RESPONSES, Responses
from streams.errors import GatewayError, invalid
from streams.events import Api
from streams.framing import Framing
from streams.surrogates import NOT_JSON

CONTINUED: Final[Mapping[Api, Responses]] = {RESPONSES.api: RESPONSES}
"""The codecs that read requests after earlier items of the same API, whose items may depend on each other."""

MAX_SEARCHED: Final = 1000
"""Elements of an array that are searched for the one to report."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@attrs.frozen(eq=False, repr=False)
class PathParameters:
    """The model and the stream flag in the path of a request. Most APIs have them in the body.

    ``replaces_model``: the path has a deployment of Azure, which replaces the body's model. ``framing`` is that of
    streams on this path, ``None`` for the API's own."""

    model: str | None = None
    stream: bool = False
    replaces_model: bool = False
    framing: Framing | None = None


NO_PARAMETERS = PathParameters()


INPUT: Final = "input"
"""The member with a client's items, in every API whose turns are stored as items."""


@attrs.frozen(eq=False)
class EarlierItems:
    """Stored items of consecutive turns of a conversation, in the form of ``api``."""

    api: Api
    items: tuple[Mapping[str, Any], ...]

    def messages(self) -> Request:
        """Return the items as a request in the neutral form; its paths start with ``previous``."""
        request = _read_after_others(self.api, {"model": "", INPUT: list(self.items)})
        messages = tuple([attrs.evolve(message, at=f"previous.{message.at}") for message in request.messages])
        return attrs.evolve(request, messages=messages, dropped=tuple([f"previous.{at}" for at in request.dropped]))


@attrs.frozen(eq=False, slots=False)  # created for each request; cheaper to construct without slots
class Incoming:
    """A request as received.

    ``members`` are its top-level members in order, as raw JSON. ``earlier`` are the stored items of its conversation,
    the oldest first, ``earlier_size`` their size in bytes."""

    api: Api
    body: bytes
    members: Mapping[str, msgspec.Raw]
    model: str | None
    stream: bool
    earlier: tuple[EarlierItems, ...] = attrs.field(default=(), repr=False)
    earlier_size: int = 0
    size: int = attrs.field(
        init=False, default=attrs.Factory(lambda self: len(self.body) + self.earlier_size, takes_self=True)
    )
    """Bytes of the whole conversation."""
    json: Body = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: Body(self.body, self.members), takes_self=True)
    )
    """Its members, each decoded once."""

    @property
    def names_agent(self) -> bool:
        """Whether ``model`` is the name of a provider's agent."""
        wire = CODECS[self.api].wire
        return wire.agent_member is not None and _is_set(self.members, wire.agent_member)

    @property
    def earlier_items(self) -> Sequence[Mapping[str, Any]]:
        """The stored items of its conversation, the oldest first."""
        return [item for turns in self.earlier for item in turns.items] if self.earlier else ()

    @cached_property
    def request(self) -> Request:
        """The request in the neutral form. Raises ``GatewayError`` (400) with the path of a mistake."""
        return self._read(CODECS[self.api].read_request)

    @cached_property
    def count_request(self) -> Request:
        """The neutral form of a request to count tokens."""
        return self._read(CODECS[self.api].read_count)

    def _read(self, read: Callable[[Mapping[str, Any]], Request]) -> Request:
        value = self.values()
        if self.earlier:
            return self._read_continuation(value)
        request = read(value)
        if CODECS[self.api].wire.model_member is None:
            request = attrs.evolve(request, model=self.model or "", stream=self.stream)
        return request

    def _read_continuation(self, value: Mapping[str, Any]) -> Request:
        """Return the request after the earlier items, which may be in other APIs than its own."""
        if self.api in CONTINUED and all(turns.api == self.api for turns in self.earlier):
            request: Request = CONTINUED[self.api].read_continuation(value, self.earlier_items)
            return request
        own = _read_after_others(self.api, value if value.get(INPUT) else {**value, INPUT: "-"})
        earlier = [turns.messages() for turns in self.earlier]
        leading = tuple([message for message in own.messages if not message.at.startswith(INPUT)])
        rest = tuple([message for message in own.messages if message.at.startswith(INPUT)]) if value.get(INPUT) else ()
        messages = (*leading, *(message for request in earlier for message in request.messages), *rest)
        dropped = (*(path for request in earlier for path in request.dropped), *own.dropped)
        return attrs.evolve(own, messages=messages, dropped=dropped)

    def values(self) -> dict[str, Any]:
        """Return all members as Python values. Raises ``GatewayError`` (400) with the position of invalid JSON text."""
        try:
            return self.json.values()
        except GatewayError:
            return parse_json(self.body, dict[str, Any])  # raises the error with the position in the whole body


def _read_after_others(api: Api, value: Mapping[str, Any]) -> Request:
    """Return a request whose ``input`` may answer calls in earlier turns of other APIs."""
    if api not in CONTINUED:
        return CODECS[api].read_request(value)
    request = CODECS[api].read_request({**value, REPLACED[0]: "earlier"})
    parameters = {name: one for name, one in request.parameters.items() if name not in REPLACED}
    return attrs.evolve(request, parameters=parameters, source=value)


def read_incoming(api: Api, body: bytes, path: PathParameters = NO_PARAMETERS) -> Incoming:
    """Parse ``body`` as a request of ``api``. Raises ``GatewayError`` (400) for anything but a JSON object with the
    required members."""
    wire = CODECS[api].wire
    members = decode_members(body)
    if (other := wire.other_form) is not None and _has_other_form(api, other, members):
        body = _in_own_form(api, other, body, members)
        members = decode_members(body)
    elif (own := CODECS[api].in_own_form(members)) is not None:
        body, members = own, decode_members(own)
    if path.replaces_model:
        body, members = _with_model(members, path.model)
    model, stream = path.model, path.stream
    if wire.model_member is not None:
        model = decode_member(members, wire.model_member, STRING, "a string")
        if wire.agent_member is not None:
            model = _agent_or_model(wire.agent_member, members, model)
    if wire.stream_member is not None:
        stream = bool(decode_member(members, wire.stream_member, BOOLEAN, "a boolean"))
    _require_conversation(wire.conversation, members)
    return Incoming(api, body, members, _without_blank(model), stream)


def _has_other_form(api: Api, other: Api, members: Mapping[str, msgspec.Raw]) -> bool:
    names = CODECS[api].wire.conversation.member, CODECS[other].wire.conversation.member
    return not _is_set(members, names[0]) and _is_set(members, names[1])


def _in_own_form(api: Api, other: Api, body: bytes, members: Mapping[str, msgspec.Raw]) -> bytes:
    """Return ``body``, a request of the API ``other``, as a request of ``api``.

    Members that only ``api`` has stay unchanged. Raises ``GatewayError`` (400) for parts that ``api`` lacks."""
    value = parse_json(body, dict)
    written, unread = _rewrite(api, other, value)
    if lost := _losses(written, unread):
        wire, other_wire = CODECS[api].wire, CODECS[other].wire
        shown = ", ".join(_described(api, other, path, value) for path in lost[:20])
        raise invalid(
            f"a request with {other_wire.conversation.member} at {wire.root}{wire.path} cannot have {shown}: "
            f"remove it, or send the request to {other_wire.root}{other_wire.path}",
            lost[0],
        )
    own = msgspec.json.decode(written.body, type=dict[str, msgspec.Raw])
    for name in ("model", "stream_options"):  # the client's own, if any
        own.pop(name, None)
    kept = {name: members[name] for name in (*unread, "model", "stream_options") if name in members}
    return msgspec.json.encode({**own, **kept})


def _rewrite(api: Api, other: Api, value: Mapping[str, Any]) -> tuple[Outgoing, Collection[str]]:
    """Return the request in the form of ``api``, and the members that the other API does not have."""
    request = CODECS[other].read_request(value)
    written = CODECS[api].write_request(attrs.evolve(request, api=api), Recipient(request.model, Issuer("", "")))
    return written, [name for name in request.dropped if name in value]


def _losses(written: Outgoing, unread: Collection[str]) -> list[str]:
    """Return the lost members, without the second form of ``NativeTool.dropped_places``."""
    return [path for path in losses(written.dropped) if path not in unread and ": " not in path]


def _described(api: Api, other: Api, path: str, value: Mapping[str, Any]) -> str:
    """Return ``path``, for an element of an array with the place and the type of the first one that is lost."""
    name, is_element, rest = path.partition("[]")
    if rest or not is_element:
        return path
    tried: set[str] = set()  # one element of each type is enough, and a translation of all would take long
    for index, element in enumerate(as_objects(value.get(name))[:MAX_SEARCHED]):
        if (kind := as_string(element.get("type"))) in tried:
            continue
        tried.add(kind)
        with contextlib.suppress(GatewayError):
            if path in _losses(*_rewrite(api, other, {CODECS[other].wire.conversation.member: "-", name: [element]})):
                return f"{name}[{index}] of type {kind or 'unknown'!r}"
    return path


def _without_blank(model: str | None) -> str | None:
    """Return ``model``, or ``None`` for a blank name, which requests no model."""
    return None if not model or model.isspace() else model


def _agent_or_model(member: str, members: Mapping[str, msgspec.Raw], model: str | None) -> str | None:
    """Return the name of the agent that a request uses in place of a model, else ``model``."""
    if (agent := decode_member(members, member, STRING, "a string")) is None:
        return model
    if model is not None:
        raise invalid(f"send either model or {member}, not both", member)
    return str(agent)


def read_non_conversation(api: Api, body: bytes, path: PathParameters = NO_PARAMETERS) -> Incoming:
    """Parse ``body`` as a request that is not a conversation; errors have the shape of ``api``.

    Reads the model and the stream flag from the usual members unless ``path`` has them. Raises as ``read_incoming``
    does."""
    members = decode_members(body)
    if path.replaces_model:
        body, members = _with_model(members, path.model)
    model = path.model or decode_member(members, "model", STRING, "a string")
    stream = path.stream or bool(decode_member(members, "stream", BOOLEAN, "a boolean"))
    return Incoming(api, body, members, _without_blank(model), stream)


def _with_model(members: dict[str, msgspec.Raw], model: str | None) -> tuple[bytes, dict[str, msgspec.Raw]]:
    """Return a body with these members and another model, and its members."""
    body = msgspec.json.encode({**members, "model": model})
    return body, decode_members(body)


def decode_members(body: bytes) -> dict[str, msgspec.Raw]:
    """Return the top-level members of a body as raw JSON. Raises ``GatewayError`` (400)."""
    if not body:
        raise invalid("the request body is empty: send a JSON object")
    try:
        check_text(body)
        members = _MEMBERS.decode(body)
        check_members(body, members)
    except msgspec.ValidationError:
        raise invalid("the request body must be a JSON object") from None
    except NOT_JSON as error:
        raise malformed_error(error, body) from None
    return members


def _require_conversation(conversation: Conversation, members: Mapping[str, msgspec.Raw]) -> None:
    """Raise ``GatewayError`` (400) for a request without a conversation. Codecs or the provider check the rest."""
    name = conversation.member
    first = bytes(memoryview(members.get(name, b"null"))[:1])  # of a value that may have megabytes
    if first == b"n":
        if not conversation.optional:
            raise invalid(f"{name} is required", name)
    elif first not in conversation.starts:
        raise invalid(f"{name} must be {conversation.kind}", name)


def _is_set(members: Mapping[str, msgspec.Raw], name: str) -> bool:
    return name in members and bytes(memoryview(members[name])[:1]) != b"n"
