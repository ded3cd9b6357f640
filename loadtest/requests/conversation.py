"""Conversations: sessions of several turns that include the earlier answers of this server."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from loadtest.plan.lengths import as_lengths
from loadtest.plan.load_endpoints import PREVIOUS, TOKEN_LIMITS
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

LONGEST: Final = 16 * 2**20  # bytes of an answer that the next request repeats

_SERVER: Final = Issuer("server", "")
_RECIPIENT: Final = Recipient("", _SERVER, Quirks(short_call_ids=False))  # tool call ids are returned unchanged
_FIRST: Final = Message("user", (TextPart("-"),))
_TEXTS_OF_REASONING: Final = ("reasoning_content", "reasoning")  # in Chat, the usual one first


class CannotContinue(ValueError):
    """The reason why a conversation cannot continue."""


@attrs.frozen
class TurnAnswer:
    """The answer of a turn. ``reasoning_member`` is the member in which a Chat server sent its reasoning, or ""."""

    api: Api
    answer: Answer
    reasoning_member: str = ""

    @classmethod
    def read(cls, api: Api, body: bytes, streamed: bool) -> "TurnAnswer":
        """Parse the answer in ``body``. Raises ``CannotContinue``."""
        if len(body) > LONGEST or (not streamed and has_more_elements(body, MAX_ELEMENTS)):
            raise CannotContinue("the answer is too long to continue")
        try:
            answer = fold(_answer_events(api, body, streamed))
        except GatewayError as error:
            raise CannotContinue(error.info.message) from None
        except FramingError as error:
            raise CannotContinue(str(error)) from None
        names = _TEXTS_OF_REASONING if api == "chat" else ()
        return cls(api, answer, next((name for name in names if b'"%b"' % name.encode() in body), ""))

    @property
    def calls(self) -> tuple[ToolCallBlock, ...]:
        """The calls of the client's own tools."""
        return tuple(block for block in self.answer.blocks if isinstance(block, ToolCallBlock))


def next_body(before: bytes, answered: TurnAnswer, said: Sequence[Part], spoken: Sequence[bytes] = ()) -> bytes:
    """Return the body of the next turn: ``before``, the answer, and the new parts ``said``.

    ``spoken`` are additional messages in the API's format. Raises ``CannotContinue``.
    """
    members = _body_members(before)
    member = CODECS[answered.api].wire.conversation.member
    new = [*_turn_messages(answered, said), *_raw_messages(answered.api, spoken)]
    had, more = _messages_array(answered.api, members.get(member))[1:-1].strip(), msgspec.json.encode(new)[1:-1]
    members[member] = msgspec.Raw(b"[%b]" % b",".join(filter(None, (had, more))))
    return msgspec.json.encode(members)


def referring_body(before: bytes, answered: TurnAnswer, said: Sequence[Part], spoken: Sequence[bytes] = ()) -> bytes:
    """Return the body of the next turn for a server that keeps the earlier ones: it refers to the answer by its id.

    Raises ``CannotContinue``.
    """
    if not answered.answer.start.id:
        raise CannotContinue("the answer has no id for the next turn")
    new = _write_messages(answered.api, (Message("user", tuple(said)),)) if said else []
    return msgspec.json.encode({
        **_body_members(before),
        PREVIOUS[answered.api]: answered.answer.start.id,
        "store": True,
        "input": [*new, *_raw_messages(answered.api, spoken)],
    })  # fmt: skip


def stored_body(body: bytes) -> bytes:
    """Return the body of a first turn that a server must store.

    Raises ``CannotContinue`` if it is not an object.
    """
    return msgspec.json.encode({**_body_members(body), "store": True})


def with_token_limit(api: Api, body: bytes, output: int) -> bytes:
    """Return the body with another token limit, if it has a limit."""
    members = _body_members(body)
    for path in (*TOKEN_LIMITS[api], "min_tokens"):
        name, _, inner = path.partition(".")
        if name not in members:
            continue
        value = msgspec.json.decode(members[name])
        members[name] = {**value, inner: output} if inner and isinstance(value, dict) else output
    return msgspec.json.encode(members)


# The answer


def _answer_events(api: Api, body: bytes, streamed: bool) -> Iterator[Event]:
    codec = CODECS[api]
    if not streamed:
        yield from codec.read_answer(body, checked=False)
        return
    reader = codec.reader()
    for name, data in codec.wire.framing.parse_all(body):
        yield from reader.read_event(name, data)
    yield from reader.close()


def _answer_parts(answered: TurnAnswer) -> Iterator[Part]:
    """Yield the parts of the answer in the form in which a client returns them."""
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
            case ReasoningBlock():  # without content that a server needs back
                pass


# The messages


def _turn_messages(answered: TurnAnswer, said: Sequence[Part]) -> list[Object]:
    api = answered.api
    answer = Message("assistant", tuple(_answer_parts(answered)))
    behind = Message("user", tuple(said))
    written = _write_messages(api, (_FIRST, answer, behind))
    if written[:1] != _write_messages(api, (_FIRST,)):  # no message is between the two
        return _write_messages(api, (behind,)) if said else []
    return [_with_reasoning(message, answered) for message in written[1:]]


def _write_messages(api: Api, messages: tuple[Message, ...]) -> list[Object]:
    """Return messages in the format of the API. A user message comes first, because some APIs require one."""
    codec = CODECS[api]
    written: Object = msgspec.json.decode(codec.write_request(Request(api, "", messages), _RECIPIENT).body)
    found: list[Object] = written[codec.wire.conversation.member]
    return found


def _with_reasoning(message: Object, answered: TurnAnswer) -> Object:
    """Add the text of the reasoning, because ``reasoning_details`` may only have a seal of its owner."""
    if "reasoning_details" not in message or not answered.reasoning_member:
        return message
    text = "".join(block.text for block in answered.answer.blocks if isinstance(block, ReasoningBlock))
    return {**message, answered.reasoning_member: text}


def _body_members(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        raise CannotContinue("the previous request is not a JSON object") from None


def _messages_array(api: Api, value: Any) -> bytes:
    """Return the earlier messages as an array; some APIs accept a single text instead. Raises ``CannotContinue``."""
    written = bytes(value or b"")
    if api == "interactions" and written.startswith((b"[", b"{")):
        return _steps_array(written)
    if written.startswith(b"["):
        return written
    if not written.startswith(b'"'):
        raise CannotContinue("the previous request has no messages")
    return msgspec.json.encode(_write_messages(api, (Message("user", (TextPart(msgspec.json.decode(written)),)),)))


def _raw_messages(api: Api, spoken: Sequence[bytes]) -> list[msgspec.Raw]:
    """Return messages in the format of the API, which can follow an answer."""
    if api != "interactions" or not spoken:
        return [*map(msgspec.Raw, spoken)]
    return msgspec.json.decode(_steps_array(b"[%b]" % b",".join(spoken)), type=list[msgspec.Raw])


def _steps_array(written: bytes) -> bytes:
    """Return the ``input`` of an interaction as an array of steps.

    Steps stay unchanged; contents that follow each other become one."""
    items = [written]
    if written.startswith(b"["):
        items = [bytes(one) for one in msgspec.json.decode(written, type=list[msgspec.Raw])]
    steps: list[bytes] = []
    for is_content, run in groupby(items, _is_content):
        found = list(run)
        steps += [b'{"type":"user_input","content":[%b]}' % b",".join(found)] if is_content else found
    return written if steps == items else b"[%b]" % b",".join(steps)


def _is_content(item: bytes) -> bool:
    """Return whether ``item`` of an interaction's input is a content and no step."""
    value = msgspec.json.decode(item)
    return isinstance(value, dict) and value.get("type") in _CONTENTS


_CONTENTS: Final = frozenset(("text", "image", "audio", "document", "video"))


ROUNDS: Final = 10
"""Consecutive requests with only tool results, between two messages of the user.

The limit stops endless tool calls.
"""

Words: TypeAlias = Callable[[int, random.Random], str]
"""Returns a text of about this many tokens."""

ResultsCome: TypeAlias = Literal["in turns", "between turns"]
"""How a request with tool results counts: as a turn of the conversation, or as an addition between two turns."""


@attrs.frozen
class UserTurn:
    """A message of the user after an answer.

    ``content`` is a text, a number of words, or parts. ``api_messages`` are messages in the API's format. ``think`` is
    the pause before the message in seconds, ``None`` if it was not recorded. ``output`` is the token limit of the
    answer, if it differs from the first.
    """

    content: str | int | tuple[Part, ...] = ""
    api_messages: tuple[bytes, ...] = ()
    think: float | None = None
    output: int | None = None


class ConversationSession:
    """A conversation of one client: an ``opening``, and a message after each answer.

    It ends early if an answer allows no continuation; ``unbegun`` turns are then left.
    """

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
        """Return the next request (see ``LoadSession``)."""
        if before is None:
            self.unbegun = len(self._following)
            return self._opening
        try:
            return self._next_request(before)
        except CannotContinue:
            return None

    def _next_request(self, before: bytes) -> PreparedRequest | None:
        """Return the next request. Raises ``CannotContinue``."""
        answered = TurnAnswer.read(self._request.api, before, self._request.stream)
        results = [self._tool_result(call.id, call.name, call.kind) for call in answered.calls]
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
        said = results if alone else [*results, *self._turn_parts(turn)]
        write = referring_body if self._request.history == "server" else next_body
        self._body = write(self._body, answered, said, () if alone else turn.api_messages)
        if turn.output is not None:
            self._body = with_token_limit(self._request.api, self._body, turn.output)
        think = self._request.think.draw(self._chance) if turn.think is None else turn.think
        think = min(think, self._request.think_cap)
        asked = turn.output or self._opening.asked_output
        return attrs.evolve(_with_body(self._opening, self._body), think=think, asked_output=asked)

    def _turn_parts(self, turn: UserTurn) -> tuple[Part, ...]:
        if isinstance(turn.content, tuple):
            return turn.content
        text = self._words(turn.content, self._chance) if isinstance(turn.content, int) else turn.content
        return (TextPart(text),) if text else ()

    def _tool_result(self, id: str, tool: str, kind: Any) -> ToolResultPart:
        wanted = self._request.tool_results.result_of(tool)
        text = wanted if isinstance(wanted, str) else self._words(wanted.draw(self._chance), self._chance)
        return ToolResultPart(id, (TextPart(text),), kind=kind)


def _with_body(opening: PreparedRequest, body: bytes) -> PreparedRequest:
    """Return the request with another body of unknown length."""
    return attrs.evolve(opening, body=body, asked_input=None, characters=None, learn=None)


class MadeConversations:
    """A source of generated conversations. Each begins with a request from ``openings``."""

    def __init__(self, request: LoadRequest, openings: RequestSource, words: Words) -> None:
        self._request = request
        self._openings = openings
        self._words = words
        self._bodies = Bodies(request)

    def session(self, number: int, rng: random.Random) -> LoadSession:
        session = self._openings.session(number, rng)
        following, seed = list(self._later_turns(rng)), rng.getrandbits(32)
        return LazySession(lambda: self._start(session, following, seed))

    def _start(self, session: LoadSession, following: Sequence[UserTurn], seed: int) -> LoadSession:
        opening = session.turn(None)
        assert opening is not None, "a session has a first turn"
        if texts := self._request.turns.texts:
            body = self._bodies.make_body(texts[0], opening.asked_output or 1)
            opening = _with_body(opening, body)
        results: ResultsCome = "between turns" if self._request.turns.texts else "in turns"
        return ConversationSession(opening, following, results, self._words, seed)

    def _later_turns(self, rng: random.Random) -> Iterator[UserTurn]:
        request = self._request
        lengths = as_lengths(request.follow_up.lengths or request.prompt)
        said = request.turns.texts[1:]
        for number in range(request.turns.count.draw(rng) - 1):
            think = request.think.draw(rng)
            yield UserTurn(said[number] if said else lengths.draw(rng), think=think)


class TracedConversations:
    """A source of the conversations in a trace, with its lengths and pauses.

    A pause lasts from the end of an answer to the next turn.
    """

    def __init__(self, trace: LoadTrace, speed: float, openings: RequestSource, words: Words) -> None:
        self._trace = trace
        self._speed = speed
        self._openings = openings
        self._words = words

    def session(self, number: int, rng: random.Random) -> LoadSession:
        session, seed = self._openings.session(number, rng), rng.getrandbits(32)
        first = self._trace.row_of_arrival(number)
        rows = [first, *self._trace.later_turns.get(first, ())]
        return LazySession(lambda: self._start(session, rows, seed)) if len(rows) > 1 else session

    def _start(self, session: LoadSession, rows: Sequence[int], seed: int) -> LoadSession:
        opening = session.turn(None)
        assert opening is not None, "a session has a first turn"
        turns = [self._turn_of_row(*map(self._trace.row, pair)) for pair in pairwise(rows)]
        return ConversationSession(opening, turns, "in turns", self._words, seed)

    def _turn_of_row(self, before: TraceRow, row: TraceRow) -> UserTurn:
        """Return the turn of ``row``. Its prompt includes the earlier turns if it is longer than they are."""
        new = row.input - before.input - before.output
        think = max(0.0, row.at - before.at - before.elapsed) / self._speed
        return UserTurn(new if new > 0 else row.input, think=think, output=row.output)


def conversation_of(
    opening: PreparedRequest, following: Sequence[UserTurn], words: Words, rng: random.Random
) -> LoadSession:
    """Return a recorded conversation. The answers of this server replace the recorded ones."""
    return ConversationSession(opening, following, "between turns", words, rng.getrandbits(32))


# Conversations in a file


def split_turns(api: Api, body: bytes) -> tuple[bytes, tuple[UserTurn, ...]]:
    """Split the body of a whole conversation into its opening and the later messages of the user.

    Answers and tool results are dropped. Raises ``CannotContinue`` if there is no conversation.
    """
    member = CODECS[api].wire.conversation.member
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        messages = msgspec.json.decode(members[member], type=list[msgspec.Raw])
        said = [_user_part(bytes(message)) for message in messages]
    except (*NOT_JSON, KeyError):
        raise CannotContinue(f"{member} is not a list of messages") from None
    runs: list[list[bytes]] = [[]]
    for message in said:
        if message is None and runs[-1]:
            runs.append([])
        elif message:
            runs[-1].append(message)
    if not runs[0]:
        raise CannotContinue(f"{member} has no text")
    opening, *following = filter(None, runs)
    members[member] = msgspec.Raw(b"[%b]" % b",".join(opening))
    return msgspec.json.encode(members), tuple(UserTurn(api_messages=tuple(run)) for run in following)


_ANSWERS: Final = frozenset(("assistant", "model"))  # roles of a message
_RESULTS: Final = frozenset(("tool", "function"))
# Their type, or their only member.
_RESULT_BLOCKS: Final = frozenset(("tool_result", "toolResult", "functionResponse"))
_USER_TYPES: Final = frozenset(("message", "user_input", *_CONTENTS))


def _user_part(message: bytes) -> bytes | None:
    """Return the user's part of a message: empty if it only has tool results, ``None`` for a message of the model."""
    value = msgspec.json.decode(message)
    if not isinstance(value, dict):
        raise ValueError
    role, kind = value.get("role"), str(value.get("type", "message"))
    if role in _RESULTS or kind == "function_result" or (kind.endswith("_output") and kind != "model_output"):
        return b""
    if role in _ANSWERS or kind not in _USER_TYPES:  # a call, or reasoning
        return None
    for member in ("content", "parts"):
        if isinstance(parts := value.get(member), list) and any(map(_is_tool_result, parts)):
            left = [part for part in parts if not _is_tool_result(part)]
            return msgspec.json.encode({**value, member: left}) if left else b""
    return message


def _is_tool_result(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in _RESULT_BLOCKS or not _RESULT_BLOCKS.isdisjoint(part))
