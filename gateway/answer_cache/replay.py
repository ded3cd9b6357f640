"""A kept answer as a provider's, which reads as if it came again."""

from collections.abc import Iterable, Iterator
from typing import Final

import trio

from gateway.answer_cache.stored_answer import StoredAnswer
from gateway.config.cached_answers import CachePace
from gateway.http.headers import Headers
from gateway.upstream.http11 import BodySource, WireAnswer
from gateway.upstream.response import UpstreamResponse

PIECE: Final = 64 * 1024
"""Bytes that come at once, where no pauses are kept."""


class _NoSlot:
    """The slot of an answer for which nobody is asked."""

    def free(self) -> None:
        return


class ReplayedBody:
    """A ``BodySource`` of ``pieces``, each after some seconds."""

    def __init__(self, pieces: Iterator[tuple[float, bytes]]) -> None:
        self._pieces = pieces

    async def read(self) -> bytes:
        pause, piece = next(self._pieces, (0.0, b""))
        await trio.sleep(pause)
        return piece

    async def aclose(self) -> None:
        self._pieces = iter(())


def replayed(answer: StoredAnswer, pace: CachePace) -> UpstreamResponse:
    """``answer`` as it came, or all of it at once."""
    pieces = _paused(answer) if pace == "recorded" and answer.pauses else _at_once(answer.body)
    return response_of(ReplayedBody(pieces), (("content-type", answer.content_type),))


def response_of(body: BodySource, headers: Headers, status: int = 200) -> UpstreamResponse:
    """A provider's answer whose body comes from here."""
    return UpstreamResponse(WireAnswer(status, _encoded(headers), body), 0, _NoSlot())


def _encoded(headers: Iterable[tuple[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple([(name.encode(), value.encode("latin-1")) for name, value in headers])


def _at_once(body: bytes) -> Iterator[tuple[float, bytes]]:
    return ((0.0, body[start : start + PIECE]) for start in range(0, len(body), PIECE))


def _paused(answer: StoredAnswer) -> Iterator[tuple[float, bytes]]:
    start = 0
    for milliseconds, size in answer.pauses:
        yield milliseconds / 1000, answer.body[start : start + size]
        start += size
