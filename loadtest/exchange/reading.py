"""What an answer says, read event by event: done after its end, beside the judging, for it takes longer than reading
the socket does."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from loadtest.exchange.content import NOTHING, ONLY_END, EventContent, read_event, read_whole
from loadtest.exchange.record import AnswerTokens
from loadtest.plan.load_endpoints import LoadApi, wire_of
from streams.framing import FramingError

LONGEST: Final = 16 * 2**20  # bytes of an event
PIECE: Final = 64 * 1024


@attrs.frozen
class AnswerContent:
    """What an answer says. Its events are known by their numbers in the order in which they came: ``first`` says
    anything at all, ``contents`` show generation, of which ``output`` is the first that is not reasoning, ``end`` is
    the API's own. ``says``: there was more than an end. ``error`` is the name of the error in it, ``message`` what that
    says."""

    first: int | None = None
    contents: tuple[int, ...] = ()
    output: int | None = None
    end: int | None = None
    says: bool = False
    tokens: AnswerTokens = attrs.field(factory=AnswerTokens)
    finish: str = ""
    error: str | None = None
    message: str = ""


def read_answer(api: LoadApi, body: bytes, *, streamed: bool) -> AnswerContent:
    """Read what has come of an answer. Raises nothing."""
    if not streamed:
        return _read((read_whole(api, body),))
    return _read(read_event(api, raw) for raw in _events(api, body))


def _events(api: LoadApi, body: bytes) -> Iterator[bytes]:
    splitter = wire_of(api).framing.splitter(LONGEST)
    with contextlib.suppress(FramingError):
        for start in range(0, len(body), PIECE):  # what a splitter refuses takes the events of its piece with it
            yield from splitter.feed(body[start : start + PIECE])


def _read(events: Iterable[EventContent]) -> AnswerContent:
    found: dict[str, int] = {}
    contents: list[int] = []
    tokens, finish, failed, says = AnswerTokens(), "", NOTHING, False
    for number, said in enumerate(events):
        if said is NOTHING:
            continue
        says = says or said is not ONLY_END
        found.setdefault("first", number)
        if said.last:
            found.setdefault("end", number)
        if said.content:
            contents.append(number)
        if said.content and not said.reasoning:
            found.setdefault("output", number)
        if said.tokens is not None:
            tokens = _later(tokens, said.tokens)
        finish = said.finish or finish
        failed = said if said.error else failed
    return AnswerContent(
        **found,
        contents=tuple(contents),
        says=says,
        tokens=tokens,
        finish=finish,
        error=failed.error,
        message=failed.message,
    )


def _later(before: AnswerTokens, after: AnswerTokens) -> AnswerTokens:
    """What the later usage counts, and what only the earlier one did."""
    mixed = zip(attrs.astuple(before), attrs.astuple(after), strict=True)
    return AnswerTokens(*(old if new is None else new for old, new in mixed))
