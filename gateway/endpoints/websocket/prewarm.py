"""``generate: false`` on a websocket: a turn that is sent ahead and answered without the model.

Codex sends its instructions and tools that way while the user is still typing, and then only what is new, with the
prewarm's id in ``previous_response_id`` (router-for-me/CLIProxyAPI#1901). What was sent ahead is remembered with the
connection and put before the input of the turn that refers to it: no provider has to know of it.
"""

import time
from collections.abc import Mapping, Sequence

import attrs
import msgspec

from gateway.endpoints.websocket.envelopes import Members
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.neutral.codec import Reply
from streams.errors import invalid
from streams.events import AnswerEnd, AnswerStart, Event, Usage

_STRING = msgspec.json.Decoder(str | None)
_INPUT = msgspec.json.Decoder(str | list[msgspec.Raw] | None)
_CONTEXT = ("previous_response_id", "conversation")


MOST = 32
"""The prewarms that one connection has, of whatever size. Codex goes on from its last."""


@attrs.frozen
class _Ahead:
    """A request that was sent ahead: its input as an array of items, and the members that say what is before them.
    Copies, for a ``Raw`` keeps all of the frame alive that it is a part of."""

    input: msgspec.Raw
    context: Mapping[str, msgspec.Raw]

    @classmethod
    def of(cls, members: Members) -> "_Ahead":
        """Raises ``GatewayError`` (400)."""
        context = {name: members[name].copy() for name in _CONTEXT if name in members}
        return cls(_array(_items(members)), context)

    @property
    def size(self) -> int:
        return len(self.input) + sum(map(len, self.context.values()))


class Prewarmed:
    """The prewarms of one connection, at most ``MOST`` and of ``limit`` bytes; the oldest go first, but never the
    newest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ahead: dict[str, _Ahead] = {}

    def continued(self, members: Members) -> Members:
        """``members`` with all that was sent ahead, if it goes on from a prewarm."""
        try:
            previous = _STRING.decode(members.get("previous_response_id", b"null"))
        except msgspec.ValidationError:
            return members  # whoever reads it refuses it
        ahead = self._ahead.get(previous or "")
        if ahead is None:
            return members
        own = {name: raw for name, raw in members.items() if name != "previous_response_id"}
        items = (*_items({"input": ahead.input}), *_items(members))
        return {**ahead.context, **own, "input": _array(items)}

    def remember(self, id: str, members: Members) -> None:
        """Keep what was sent ahead in ``members``. Raises ``GatewayError`` (400)."""
        self._ahead[id] = _Ahead.of(members)
        while len(self._ahead) > 1 and self._is_too_much():
            del self._ahead[next(iter(self._ahead))]

    @property
    def size(self) -> int:
        """Bytes of all that was sent ahead."""
        return sum(ahead.size for ahead in self._ahead.values())

    def _is_too_much(self) -> bool:
        return len(self._ahead) > MOST or self.size > self._limit


def _array(items: Sequence[msgspec.Raw]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(items))


def _items(members: Members) -> tuple[msgspec.Raw, ...]:
    """The input as items. Raises ``GatewayError`` (400)."""
    try:
        value = _INPUT.decode(members.get("input", b"null"))
    except msgspec.MsgspecError:
        raise invalid("input must be a string or an array", "input") from None
    if isinstance(value, str):
        message = {"type": "message", "role": "user", "content": value}
        return (msgspec.Raw(msgspec.json.encode(message)),)
    return tuple(value or ())


def prewarm(id: str, incoming: Incoming, target: Target) -> bytes:
    """The events of a response without output, which nobody was asked for and which costs nothing. Raises
    ``GatewayError`` (400)."""
    call = attrs.evolve(incoming.request, model=target.asked)
    writer = CODECS["responses"].writer(Reply(call, target.recipient.issuer, int(time.time()), id=id))
    events: tuple[Event, ...] = (AnswerStart(), Usage(), AnswerEnd("stop"))
    return b"".join(map(writer.send, events))
