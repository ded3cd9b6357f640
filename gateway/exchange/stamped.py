"""Answers that are written the same each time: with the ids and the time of their stamp."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from gateway.answer_cache.stored_answer import AnswerStamp, given_ids
from gateway.exchange.answering import fold_answer
from gateway.exchange.attempt import Attempt
from gateway.streaming.lane import Lane
from gateway.upstream.response import UpstreamResponse
from streams.events import ErrorInfo
from streams.fold import Fold

T = TypeVar("T")


class StampedLane:
    """A lane whose ids are ``ids``, in the order in which it makes them."""

    def __init__(self, lane: Lane, ids: Iterator[str]) -> None:
        self.seen = lane.seen
        self.source = lane.source
        self._lane = lane
        self._ids = ids

    def feed(self, data: bytes) -> bytes:
        with given_ids(self._ids):
            return self._lane.feed(data)

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        with given_ids(self._ids):
            return self._lane.end(failed)

    def rest(self) -> bytes:
        return self._lane.rest()

    def ping(self) -> bytes:
        return self._lane.ping()


def stamped_lane(stamp: AnswerStamp, make: Callable[[], Lane]) -> Lane:
    """The lane that ``make`` makes, with the ids of ``stamp``."""
    ids = stamp.ids(b"stream")
    with given_ids(ids):
        return StampedLane(make(), ids)


def stamped(stamp: AnswerStamp | None, salt: bytes, work: Callable[[], T]) -> T:
    """``work()`` with the ids of ``stamp``, if there is one; ``salt`` tells it from other work on the same answer."""
    if stamp is None:
        return work()
    with given_ids(stamp.ids(salt)):
        return work()


def stamped_fold(stamp: AnswerStamp, attempt: Attempt, response: UpstreamResponse, body: bytes, *, texts: bool) -> Fold:
    """``fold_answer`` with the ids of ``stamp``."""
    return stamped(stamp, b"fold", lambda: fold_answer(attempt, response, body, texts=texts))
