"""Answers that are written anew for their client, because its shape is not the provider's."""

from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.http.headers import Headers
from gateway.relay.answers import UNBUFFERED, AnswerReading, bad_answer, decoded
from gateway.streaming.lane import too_large
from streams.errors import GatewayError
from streams.events import Usage
from streams.sse import SSE

Rewrite: TypeAlias = Callable[[bytes], tuple[bytes, Usage | None]]
"""A provider's whole answer as the client has it, and what it says that it took. Raises ``GatewayError``."""

JSON_TYPE: Final[Headers] = (("content-type", "application/json"),)


class RewrittenAnswer:
    """The ``AnswerFilter`` of a whole answer of up to ``limit`` bytes, written anew once it is there."""

    def __init__(self, rewrite: Rewrite, limit: int) -> None:
        self.usage: Usage | None = None
        self.held = limit
        self.ping = b""
        self._rewrite = rewrite
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Headers) -> Headers:
        return JSON_TYPE

    def take(self, piece: bytes) -> bytes:
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > self.held:
            raise GatewayError.of(too_large(self.held))
        return b""

    def close(self) -> bytes:
        out, self.usage = self._rewrite(b"".join(self._parts))
        return out


class RewrittenEvents:
    """The ``AnswerFilter`` of an answer that comes as events, each written anew by ``event``, or whole, then by
    ``whole``. ``reading`` reads along in what the provider sends."""

    def __init__(
        self,
        reading: AnswerReading,
        event: Callable[[bytes], bytes],
        whole: Callable[[bytes], bytes],
        event_limit: int,
        answer_limit: int,
    ) -> None:
        self.held = answer_limit
        self.ping = b""
        self._reading = reading
        self._event = event
        self._rewrite = whole
        self._whole = RewrittenAnswer(self._rewritten, answer_limit)
        self._splitter = SSE.splitter(event_limit)
        self._streamed = False

    @property
    def usage(self) -> Usage | None:
        return self._reading.usage

    def head(self, status: int, headers: Headers) -> Headers:
        kind = next((value for name, value in headers if name == "content-type"), "")
        self._streamed = SSE.announced_by(kind)
        if not self._streamed:
            return self._whole.head(status, headers)
        self.held, self.ping = 0, SSE.comment
        return (("content-type", SSE.content_type), *UNBUFFERED)

    def take(self, piece: bytes) -> bytes:
        if not self._streamed:
            return self._whole.take(piece)
        return b"".join(map(self._written, self._splitter.feed(piece)))

    def close(self) -> bytes:
        if not self._streamed:
            return self._whole.close()
        rest = SSE.completed(self._splitter.close())
        out = self._written(rest) if rest else b""
        self._reading.close(streamed=True)
        return out

    def _rewritten(self, body: bytes) -> tuple[bytes, Usage | None]:
        if (value := decoded(body)) is None:
            raise bad_answer("the provider's answer is not JSON")
        self._reading.whole(value)
        self._reading.close(streamed=False)
        return self._rewrite(body), self._reading.usage

    def _written(self, raw: bytes) -> bytes:
        if (parsed := SSE.parse(raw)) is None:
            return b""
        self._reading.event(*parsed)
        return self._event(parsed[1])
