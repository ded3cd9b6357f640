"""Stored responses in the form of a provider's response."""

from collections.abc import Iterable, Iterator
from typing import Final

import trio

from gateway.answer_cache.stored_answer import StoredAnswer
from gateway.config.cached_answers import CachePace
from gateway.http.headers import Headers
from gateway.upstream.http11 import BodySource, WireResponse
from gateway.upstream.response import UpstreamResponse

PIECE: Final = 64 * 1024
"""Bytes per piece without recorded pauses."""


class _NoSlot:
    """The slot of a response that occupies no connection."""

    def free(self) -> None:
        return


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


def replay_response(answer: StoredAnswer, pace: CachePace) -> UpstreamResponse:
    """Return ``answer`` as a provider's response, with its recorded pauses or without any."""
    pieces = _with_pauses(answer) if pace == "recorded" and answer.pauses else _without_pauses(answer.body)
    return local_response(ReplayedBody(pieces), (("content-type", answer.content_type),))


def local_response(body: BodySource, headers: Headers, status: int = 200) -> UpstreamResponse:
    """Return a provider's response with a locally made body."""
    return UpstreamResponse(WireResponse(status, _encode_headers(headers), body), 0, _NoSlot())


def _encode_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple([(name.encode(), value.encode("latin-1")) for name, value in headers])


def _without_pauses(body: bytes) -> Iterator[tuple[float, bytes]]:
    return ((0.0, body[start : start + PIECE]) for start in range(0, len(body), PIECE))


def _with_pauses(answer: StoredAnswer) -> Iterator[tuple[float, bytes]]:
    start = 0
    for milliseconds, size in answer.pauses:
        yield milliseconds / 1000, answer.body[start : start + size]
        start += size
