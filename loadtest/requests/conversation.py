"""Conversations as load: sessions of several turns, each of which carries what this server has answered before."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from loadtest.plan.lengths import as_lengths
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.traces import LoadTrace, TraceRow
from loadtest.requests.bodies import Bodies
from loadtest.requests.next_turn import (
    NoNextTurn,
    TurnAnswer,
    limited_body,
    naming_body,
    next_body,
    stored_body,
)
from loadtest.requests.sources import LazySession, LoadSession, PreparedRequest, RequestSource
from providers.apis import CODECS
from providers.neutral.request import Part, TextPart, ToolResultPart
from streams.events import Api
from streams.surrogates import NOT_JSON

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
