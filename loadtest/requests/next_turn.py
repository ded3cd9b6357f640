"""The request of a conversation's next turn: what was asked before, what this server answered, and what follows.

What was asked stays as it was sent, byte for byte; behind it come the messages that the codec of the API makes of the
answer, as a program sends them that keeps its history: texts, calls, and reasoning with its seals and signatures, which
servers refuse when they are changed. Only what this server said counts: an answer that was recorded elsewhere has ids
of calls and seals that this server never made, and a beginning that its cache has never seen
(triton-inference-server/perf_analyzer#445).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    Message,
    NativePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    ToolCallPart,
)
from providers.neutral.seal import Issuer, Seal
from streams.errors import GatewayError
from streams.events import Api, Event, ReasoningState
from streams.fold import Answer, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock, fold
from streams.framing import FramingError
from streams.structure import ELEMENTS, holds_more
from streams.surrogates import NOT_JSON

Object: TypeAlias = dict[str, Any]

LONGEST: Final = 16 * 2**20  # bytes of an answer that is said again in the next request

_SERVER: Final = Issuer("server", "")
_RECIPIENT: Final = Recipient("", _SERVER, Quirks(short_call_ids=False))  # ids go back as they came
_FIRST: Final = Message("user", (TextPart("-"),))
_TEXTS_OF_REASONING: Final = ("reasoning_content", "reasoning")  # Chat's, the usual one first


class NoNextTurn(ValueError):
    """There is nothing that a conversation could go on from. The message says why."""


@attrs.frozen
class TurnAnswer:
    """What a server has answered. ``reasoning_member``: under which name a Chat server gave the text of its reasoning,
    "" for none."""

    api: Api
    answer: Answer
    reasoning_member: str = ""

    @classmethod
    def read(cls, api: Api, body: bytes, streamed: bool) -> "TurnAnswer":
        """The answer in ``body``, streamed or in one piece. Raises ``NoNextTurn``."""
        if len(body) > LONGEST or (not streamed and holds_more(body, ELEMENTS)):
            raise NoNextTurn("the answer is too long to go on from")
        try:
            answer = fold(_events(api, body, streamed))
        except GatewayError as error:
            raise NoNextTurn(error.failed.message) from None
        except FramingError as error:
            raise NoNextTurn(str(error)) from None
        names = _TEXTS_OF_REASONING if api == "chat" else ()
        return cls(api, answer, next((name for name in names if b'"%b"' % name.encode() in body), ""))

    @property
    def calls(self) -> tuple[ToolCallBlock, ...]:
        """The calls of the client's own tools in it."""
        return tuple(block for block in self.answer.blocks if isinstance(block, ToolCallBlock))


def next_body(before: bytes, answered: TurnAnswer, said: Sequence[Part], spoken: Sequence[bytes] = ()) -> bytes:
    """The body behind ``before``, with the answer and with what is ``said`` next. ``spoken`` are messages that stand
    behind that, as the API has them. Raises ``NoNextTurn``."""
    members = _members(before)
    member = CODECS[answered.api].wire.conversation.member
    new = [*_messages(answered, said), *map(msgspec.Raw, spoken)]
    members[member] = _longer(_array(answered.api, members.get(member)), new)
    return msgspec.json.encode(members)


def naming_body(before: bytes, answered: TurnAnswer, said: Sequence[Part], spoken: Sequence[bytes] = ()) -> bytes:
    """The same for a server that keeps the earlier turns (Responses): the body names the answer, and holds what is
    ``said`` next alone. Raises ``NoNextTurn``."""
    if not answered.answer.start.id:
        raise NoNextTurn("the answer has no id that the next turn could name")
    new = _written("responses", (Message("user", tuple(said)),)) if said else []
    return msgspec.json.encode({
        **_members(before),
        "previous_response_id": answered.answer.start.id,
        "store": True,
        "input": [*new, *map(msgspec.Raw, spoken)],
    })  # fmt: skip


def stored_body(body: bytes) -> bytes:
    """The body of a first turn that the server is to keep (Responses). Raises ``NoNextTurn`` if it is no object."""
    return msgspec.json.encode({**_members(body), "store": True})


def limited_body(api: Api, body: bytes, output: int) -> bytes:
    """The body with another limit of its answer, where it has one."""
    members = _members(body)
    for name, inner in _LIMITS[api]:
        if name not in members:
            continue
        value = msgspec.json.decode(members[name])
        members[name] = {**value, inner: output} if inner and isinstance(value, dict) else output
    return msgspec.json.encode(members)


_LIMITS: Final[Mapping[Api, tuple[tuple[str, str], ...]]] = {
    "chat": (("max_completion_tokens", ""), ("max_tokens", ""), ("min_tokens", "")),
    "messages": (("max_tokens", ""),),
    "responses": (("max_output_tokens", ""),),
    "gemini": (("generationConfig", "maxOutputTokens"),),
    "converse": (("inferenceConfig", "maxTokens"),),
}


# The answer


def _events(api: Api, body: bytes, streamed: bool) -> Iterator[Event]:
    codec = CODECS[api]
    if not streamed:
        yield from codec.read_answer(body, checked=False)
        return
    framing = codec.wire.framing
    reader, splitter = codec.reader(), framing.splitter(len(body) + 1)
    for raw in filter(None, (*splitter.feed(body), framing.completed(splitter.close()))):
        if (parsed := framing.parse(raw)) is not None:
            yield from reader.take(*parsed)
    yield from reader.close()


def _parts(answered: TurnAnswer) -> Iterator[Part]:
    """The answer as a client gives it back."""
    for block in answered.answer.blocks:
        match block:
            case TextBlock(text=text, phase=phase):
                yield TextPart(text, phase=phase)
            case RefusalBlock(text=text):
                yield RefusalPart(text)
            case ToolCallBlock(id=id, name=name, input=text, kind=kind):
                yield ToolCallPart(id, name, text, kind)
            case NativeBlock(api=api, kind=native, item=item):
                yield NativePart(api, native, item)
            case ReasoningBlock(text=text, state=ReasoningState() as state):
                yield ReasoningPart(text, Seal(_SERVER, state.api, state.item))
            case ReasoningBlock():  # nothing in it that a server would want back
                pass


# The messages


def _messages(answered: TurnAnswer, said: Sequence[Part]) -> list[Object]:
    api = answered.api
    answer = Message("assistant", tuple(_parts(answered)))
    behind = Message("user", tuple(said))
    written = _written(api, (_FIRST, answer, behind))
    if written[:1] != _written(api, (_FIRST,)):  # nothing was said that stands between the two
        return _written(api, (behind,)) if said else []
    return [_with_reasoning(message, answered) for message in written[1:]]


def _written(api: Api, messages: tuple[Message, ...]) -> list[Object]:
    """Messages in the words of the API. What some API cannot begin with is why the first of them is a user's."""
    codec = CODECS[api]
    written: Object = msgspec.json.decode(codec.write_request(Request(api, "", messages), _RECIPIENT).body)
    found: list[Object] = written[codec.wire.conversation.member]
    return found


def _with_reasoning(message: Object, answered: TurnAnswer) -> Object:
    """The message with the text that stood beside its reasoning's details: what is sealed in these may be no more than
    whose it is."""
    if "reasoning_details" not in message or not answered.reasoning_member:
        return message
    text = "".join(block.text for block in answered.answer.blocks if isinstance(block, ReasoningBlock))
    return {**message, answered.reasoning_member: text}


def _members(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        raise NoNextTurn("the request before it is no JSON object") from None


def _array(api: Api, value: Any) -> bytes:
    """What was said so far, as an array: some APIs take one text in its place. Raises ``NoNextTurn``."""
    written = bytes(value or b"")
    if written.startswith(b"["):
        return written
    if not written.startswith(b'"'):
        raise NoNextTurn("the request before it says nothing")
    return msgspec.json.encode(_written(api, (Message("user", (TextPart(msgspec.json.decode(written)),)),)))


def _longer(array: bytes, new: Sequence[Any]) -> msgspec.Raw:
    """The array with more elements; those that it had are not touched."""
    had, more = array[1:-1].strip(), msgspec.json.encode(new)[1:-1]
    return msgspec.Raw(b"[%b]" % b",".join(filter(None, (had, more))))
