"""The stored form of a provider's response, the data that makes its translations reproducible, and its
replay in the form of a provider's response."""

import hashlib
import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import attrs
import msgspec
import trio

from gateway.features.answer_cache.settings import CachePace
from gateway.http.headers import Headers
from gateway.streaming.lane import Lane
from gateway.upstream.http11 import BodySource, WireResponse
from gateway.upstream.response import UpstreamResponse
from providers.neutral.codec import ID_SOURCE
from streams.events import ErrorInfo
from streams.surrogates import NOT_JSON

T = TypeVar("T")


@attrs.frozen(repr=False)
class AnswerStamp:
    """The ids and the time of a response that is or will be cached: ``RepeatedIds``, equal for every translation."""

    creation_time: int
    seed: bytes = attrs.field(factory=lambda: secrets.token_bytes(16))

    def ids(self, salt: bytes) -> Iterator[str]:
        """Yield ids of 24 characters for one translation; ``salt`` distinguishes translations."""
        for number in itertools.count():
            yield hashlib.blake2b(b"%d" % number, key=self.seed, salt=salt, digest_size=12).hexdigest()

    def call(self, salt: bytes, work: Callable[[], T]) -> T:
        with use_ids(self.ids(salt)):
            return work()

    def lane(self, make: Callable[[], tuple[Lane, T]]) -> tuple[Lane, T]:
        ids = self.ids(b"stream")
        with use_ids(ids):
            lane, writer = make()
            return StampedLane(lane, ids), writer


class StampedLane:
    """A lane whose response uses the ids of ``ids``, so that a cached response has the same ids."""

    def __init__(self, lane: Lane, ids: Iterator[str]) -> None:
        self.progress = lane.progress
        self.source = lane.source
        self._lane = lane
        self._ids = ids

    def feed(self, data: bytes) -> bytes:
        with use_ids(self._ids):
            return self._lane.feed(data)

    def end(self, error: ErrorInfo | None = None) -> bytes:
        with use_ids(self._ids):
            return self._lane.end(error)

    def trailing_bytes(self) -> bytes:
        return self._lane.trailing_bytes()

    def ping(self) -> bytes:
        return self._lane.ping()


@contextmanager
def use_ids(ids: Iterator[str]) -> Iterator[None]:
    """Let the gateway use ``ids`` for all ids that it generates in this block."""
    before = ID_SOURCE.set(ids.__next__)
    try:
        yield
    finally:
        ID_SOURCE.reset(before)


@attrs.frozen
class StoredAnswer:
    """The ``body`` of a provider's successful response, byte for byte.

    ``at`` is its arrival in Unix seconds. ``pauses`` has, for each piece, the milliseconds before it and its length."""

    at: float
    content_type: str
    stamp: AnswerStamp
    body: bytes = attrs.field(repr=False)
    pauses: tuple[tuple[int, int], ...] = ()


_FORM = 1


def encode_response(answer: StoredAnswer) -> bytes:
    stamp = answer.stamp
    return msgspec.msgpack.encode(
        (_FORM, answer.at, answer.content_type, stamp.creation_time, stamp.seed, answer.body, answer.pauses)
    )


_DECODER = msgspec.msgpack.Decoder(tuple[int, float, str, int, bytes, bytes, tuple[tuple[int, int], ...]])


def decode_response(data: bytes) -> StoredAnswer | None:
    """Return the decoded response, ``None`` if it is damaged or from another version."""
    try:
        form, at, content_type, created, seed, body, pauses = _DECODER.decode(data)
    except NOT_JSON:
        return None
    return StoredAnswer(at, content_type, AnswerStamp(created, seed), body, pauses) if form == _FORM else None


PIECE: Final = 64 * 1024
"""Bytes per piece without recorded pauses."""


class ReplayedBody:
    """A response body made of ``pieces``, each after a pause in seconds."""

    def __init__(self, pieces: Iterator[tuple[float, bytes]]) -> None:
        self._pieces = pieces

    async def read(self) -> bytes:
        pause, piece = next(self._pieces, (0.0, b""))
        await trio.sleep(pause)
        return piece

    async def aclose(self) -> None:
        self._pieces = iter(())


def replay_body(answer: StoredAnswer, pace: CachePace) -> ReplayedBody:
    """Return the body of ``answer``, with its recorded pauses or without any."""
    if pace == "recorded" and answer.pauses:
        return ReplayedBody(_with_pauses(answer))
    return ReplayedBody((0.0, answer.body[start : start + PIECE]) for start in range(0, len(answer.body), PIECE))


def local_response(body: BodySource, headers: Headers, status: int = 200) -> UpstreamResponse:
    """Return a provider's response with a locally made body, which occupies no slot."""
    encoded = tuple([(name.encode(), value.encode("latin-1")) for name, value in headers])
    return UpstreamResponse(WireResponse(status, encoded, body), 0, lambda: None)


def _with_pauses(answer: StoredAnswer) -> Iterator[tuple[float, bytes]]:
    start = 0
    for milliseconds, size in answer.pauses:
        yield milliseconds / 1000, answer.body[start : start + size]
        start += size
