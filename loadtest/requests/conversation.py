"""Conversations as load: sessions of several turns, each of which carries what this server has answered before."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from loadtest.plan.lengths import as_lengths
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.traces import LoadTrace, TraceRow
from loadtest.requests.bodies import Bodies
from loadtest.requests.sources import LazySession, LoadSession, PreparedRequest, RequestSource
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
    ToolResultPart,
)
from providers.neutral.seal import Issuer, Seal
from streams.errors import GatewayError
from streams.events import Api, Event, ReasoningState
from streams.fold import Answer, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock, fold
from streams.framing import FramingError
from streams.structure import MAX_ELEMENTS, has_more_elements
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
        if len(body) > LONGEST or (not streamed and has_more_elements(body, MAX_ELEMENTS)):
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
    for raw in filter(None, (*splitter.feed(body), framing.complete(splitter.close()))):
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


ROUNDS: Final = 10
"""Requests in a row that bring nothing but results of tools, between two things that the user says: a server that never
stops calling would be asked for ever."""

Words: TypeAlias = Callable[[int, random.Random], str]
"""Makes a text of about so many tokens."""

ResultsCome: TypeAlias = Literal["in turns", "between turns"]
"""Whether a request that brings results of tools is one of the conversation's turns, or stands between two of them."""


@attrs.frozen
class UserTurn:
    """What a client says behind an answer: a text, words of so many tokens or parts of any kind, and messages as the
    API has them. It thinks ``think`` seconds before; ``None`` where that was not recorded. ``output``:
    the limit of the answer, if it is another than the first one's."""

    said: str | int | tuple[Part, ...] = ""
    native: tuple[bytes, ...] = ()
    think: float | None = None
    output: int | None = None


class ConversationSession:
    """A conversation of one client: an ``opening`` and what is said behind each answer. It is over where the answer is
    none that it could go on from; ``unbegun`` turns are left then."""

    def __init__(
        self, opening: PreparedRequest, following: Iterable[UserTurn], results: ResultsCome, words: Words, seed: int
    ) -> None:
        request = opening.request
        if request.history == "server":
            opening = attrs.evolve(opening, body=stored_body(opening.body))
        self._request = request
        self._opening = opening
        self._body = opening.body
        self._following = deque(following)
        self._results_come = results
        self._words = words
        self._chance = random.Random(seed)
        self._rounds = 0
        self.unbegun = 1 + len(self._following)

    def turn(self, before: bytes | None) -> PreparedRequest | None:
        """See ``LoadSession``."""
        if before is None:
            self.unbegun = len(self._following)
            return self._opening
        try:
            return self._next(before)
        except NoNextTurn:
            return None

    def _next(self, before: bytes) -> PreparedRequest | None:
        """Raises ``NoNextTurn``."""
        answered = TurnAnswer.read(self._request.api, before, self._request.stream)
        results = [self._result(call.id, call.name, call.kind) for call in answered.calls]
        between = self._results_come == "between turns" and self._rounds < ROUNDS
        if results and between:
            self._rounds += 1
            turn = UserTurn()
        elif self._following:
            self._rounds = 0
            turn = self._following.popleft()
            self.unbegun = len(self._following)
        else:
            return None
        alone = results and (between or self._results_come == "in turns")
        said = results if alone else [*results, *self._parts(turn)]
        write = naming_body if self._request.history == "server" else next_body
        self._body = write(self._body, answered, said, () if alone else turn.native)
        if turn.output is not None:
            self._body = limited_body(self._request.api, self._body, turn.output)
        think = self._request.think.draw(self._chance) if turn.think is None else turn.think
        think = min(think, self._request.think_cap)
        asked = turn.output or self._opening.asked_output
        return attrs.evolve(_saying(self._opening, self._body), think=think, asked_output=asked)

    def _parts(self, turn: UserTurn) -> tuple[Part, ...]:
        if isinstance(turn.said, tuple):
            return turn.said
        text = self._words(turn.said, self._chance) if isinstance(turn.said, int) else turn.said
        return (TextPart(text),) if text else ()

    def _result(self, id: str, tool: str, kind: Any) -> ToolResultPart:
        wanted = self._request.tool_results.of(tool)
        text = wanted if isinstance(wanted, str) else self._words(wanted.draw(self._chance), self._chance)
        return ToolResultPart(id, (TextPart(text),), kind=kind)


def _saying(opening: PreparedRequest, body: bytes) -> PreparedRequest:
    """With another body, of a length that nobody asked for."""
    return attrs.evolve(opening, body=body, asked_input=None, characters=None, learn=None)


class MadeConversations:
    """A source of conversations that are made here. Each opens with a request of the source ``openings``."""

    def __init__(self, request: LoadRequest, openings: RequestSource, words: Words) -> None:
        self._request = request
        self._openings = openings
        self._words = words
        self._bodies = Bodies(request)

    def session(self, number: int, chance: random.Random) -> LoadSession:
        session = self._openings.session(number, chance)
        following, seed = list(self._following(chance)), chance.getrandbits(32)
        return LazySession(lambda: self._begun(session, following, seed))

    def _begun(self, session: LoadSession, following: Sequence[UserTurn], seed: int) -> LoadSession:
        opening = session.turn(None)
        assert opening is not None, "a session has a first turn"
        if texts := self._request.turns.texts:
            body = self._bodies.saying(texts[0], opening.asked_output or 1)
            opening = _saying(opening, body)
        results: ResultsCome = "between turns" if self._request.turns.texts else "in turns"
        return ConversationSession(opening, following, results, self._words, seed)

    def _following(self, chance: random.Random) -> Iterator[UserTurn]:
        request = self._request
        lengths = as_lengths(request.follow_up.lengths or request.prompt)
        said = request.turns.texts[1:]
        for number in range(request.turns.count.draw(chance) - 1):
            think = request.think.draw(chance)
            yield UserTurn(said[number] if said else lengths.draw(chance), think=think)


class TracedConversations:
    """A source of the conversations of a trace, which says how long each turn was, and when it came: the user thought
    from the end of the answer before until then."""

    def __init__(self, trace: LoadTrace, speed: float, openings: RequestSource, words: Words) -> None:
        self._trace = trace
        self._speed = speed
        self._openings = openings
        self._words = words

    def session(self, number: int, chance: random.Random) -> LoadSession:
        session, seed = self._openings.session(number, chance), chance.getrandbits(32)
        first = self._trace.first(number)
        rows = [first, *self._trace.behind.get(first, ())]
        return LazySession(lambda: self._begun(session, rows, seed)) if len(rows) > 1 else session

    def _begun(self, session: LoadSession, rows: Sequence[int], seed: int) -> LoadSession:
        opening = session.turn(None)
        assert opening is not None, "a session has a first turn"
        turns = [self._turn(*map(self._trace.row, pair)) for pair in pairwise(rows)]
        return ConversationSession(opening, turns, "in turns", self._words, seed)

    def _turn(self, before: TraceRow, row: TraceRow) -> UserTurn:
        """A prompt that is longer than all that was said before has that in it."""
        new = row.input - before.input - before.output
        think = max(0.0, row.at - before.at - before.elapsed) / self._speed
        return UserTurn(new if new > 0 else row.input, think=think, output=row.output)


def conversation_of(
    opening: PreparedRequest, following: Sequence[UserTurn], words: Words, chance: random.Random
) -> LoadSession:
    """The conversation that somebody has recorded, with this server's own answers in the place of those that it had."""
    return ConversationSession(opening, following, "between turns", words, chance.getrandbits(32))


# Taken from a file


def split_turns(api: Api, body: bytes) -> tuple[bytes, tuple[UserTurn, ...]]:
    """The body of a whole conversation, taken apart: as far as its user opens it, and what the user says behind each
    answer. The answers are left out, and what tools gave back for their calls. Raises ``NoNextTurn`` where there is no
    conversation in it."""
    member = CODECS[api].wire.conversation.member
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        messages = msgspec.json.decode(members[member], type=list[msgspec.Raw])
        said = [_said(bytes(message)) for message in messages]
    except (*NOT_JSON, KeyError):
        raise NoNextTurn(f"{member} is no list of messages") from None
    runs: list[list[bytes]] = [[]]
    for message in said:
        if message is None and runs[-1]:
            runs.append([])
        elif message:
            runs[-1].append(message)
    if not runs[0]:
        raise NoNextTurn(f"nobody says anything in {member}")
    opening, *following = filter(None, runs)
    members[member] = msgspec.Raw(b"[%b]" % b",".join(opening))
    return msgspec.json.encode(members), tuple(UserTurn(native=tuple(run)) for run in following)


_ANSWERS: Final = frozenset(("assistant", "model"))  # roles of a message
_RESULTS: Final = frozenset(("tool", "function"))
_RESULT_BLOCKS: Final = frozenset(("tool_result", "toolResult", "functionResponse"))  # their type, or their one member


def _said(message: bytes) -> bytes | None:
    """What the user says with a message, as it stands there: nothing if it only brings results of tools; ``None`` for
    one of the model's."""
    value = msgspec.json.decode(message)
    if not isinstance(value, dict):
        raise ValueError
    role, kind = value.get("role"), str(value.get("type", "message"))
    if role in _RESULTS or kind.endswith("_output"):
        return b""
    if role in _ANSWERS or kind != "message":  # Responses: a call, or reasoning
        return None
    for member in ("content", "parts"):
        if isinstance(parts := value.get(member), list) and any(map(_is_result, parts)):
            left = [part for part in parts if not _is_result(part)]
            return msgspec.json.encode({**value, member: left}) if left else b""
    return message


def _is_result(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in _RESULT_BLOCKS or not _RESULT_BLOCKS.isdisjoint(part))
