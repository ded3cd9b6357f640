"""``generate: false`` on a websocket: a turn that is sent ahead and answered without the model.

Codex sends its instructions and tools that way while the user is typing, and then only the new items with the prewarm's
id in ``previous_response_id`` (router-for-me/CLIProxyAPI#1901). The connection remembers the prewarm, and puts it
before the input of the turn that refers to it; providers never see it separately."""

import time
from collections.abc import Mapping, Sequence

import attrs
import msgspec

from gateway.features.responses_websocket.envelopes import Members
from gateway.request.members import STRING, decode_member
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.neutral.codec import Reply
from streams.events import AnswerEnd, AnswerStart, Event, Usage

_INPUT = msgspec.json.Decoder(str | list[msgspec.Raw] | None)
_CONTEXT = ("previous_response_id", "conversation")


MAX_PREWARMS = 32
"""The most prewarms of a connection; Codex continues its last."""


@attrs.frozen
class _Prewarm:
    """A prewarm: its input as an array of items, and the members that refer to earlier turns.

    These are copies, because a ``Raw`` keeps its whole frame in memory."""

    input: msgspec.Raw
    context: Mapping[str, msgspec.Raw]

    @classmethod
    def of(cls, members: Members) -> "_Prewarm":
        """Return the prewarm with ``members``. Raises ``GatewayError`` (400)."""
        context = {name: members[name].copy() for name in _CONTEXT if name in members}
        return cls(_array(_items(members)), context)

    @property
    def size(self) -> int:
        return len(self.input) + sum(map(len, self.context.values()))


class Prewarms:
    """The prewarms of one connection, at most ``MAX_PREWARMS`` and ``limit`` bytes; the oldest are dropped, never the
    newest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._prewarms: dict[str, _Prewarm] = {}

    def with_prewarm(self, members: Members) -> Members:
        """Return ``members`` including those of the prewarm that they continue, if any."""
        try:
            previous = STRING.decode(members.get("previous_response_id", b"null"))
        except msgspec.ValidationError:
            return members  # rejected later
        prewarm = self._prewarms.get(previous or "")
        if prewarm is None:
            return members
        own = {name: raw for name, raw in members.items() if name != "previous_response_id"}
        items = (*_items({"input": prewarm.input}), *_items(members))
        return {**prewarm.context, **own, "input": _array(items)}

    def remember(self, id: str, members: Members) -> None:
        """Remember the prewarm ``id`` with ``members``. Raises ``GatewayError`` (400)."""
        self._prewarms[id] = _Prewarm.of(members)
        while len(self._prewarms) > 1 and (len(self._prewarms) > MAX_PREWARMS or self.size > self._limit):
            del self._prewarms[next(iter(self._prewarms))]

    @property
    def size(self) -> int:
        """The size of all prewarms in bytes."""
        return sum(prewarm.size for prewarm in self._prewarms.values())


def _array(items: Sequence[msgspec.Raw]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(items))


def _items(members: Members) -> tuple[msgspec.Raw, ...]:
    """Return the ``input`` member as a tuple of items. Raises ``GatewayError`` (400)."""
    value = decode_member(members, "input", _INPUT, "a string or an array")
    if isinstance(value, str):
        message = {"type": "message", "role": "user", "content": value}
        return (msgspec.Raw(msgspec.json.encode(message)),)
    return tuple(value or ())


def write_prewarm_response(id: str, incoming: Incoming, target: Target) -> bytes:
    """Return the events of the response to a prewarm: no output, no provider, no cost.

    Raises ``GatewayError`` (400)."""
    call = attrs.evolve(incoming.request, model=target.requested_name)
    writer = CODECS["responses"].writer(Reply(call, target.recipient.issuer, int(time.time()), id=id))
    events: tuple[Event, ...] = (AnswerStart(), Usage(), AnswerEnd("stop"))
    return b"".join(map(writer.send, events))
