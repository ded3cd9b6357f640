"""A Gemini provider's stream, read: server-sent events without names, each a ``GenerateContentResponse``, and no
terminator. Source: ``streamGenerateContent`` of the Gemini API."""

from collections.abc import Sequence

from providers.errors.failures import array_failure
from providers.gemini.reading.chunks import ChunkReader
from providers.neutral.bounds import ANSWER
from streams.errors import GatewayError
from streams.events import ErrorInfo, Event
from streams.sse import DONE
from streams.surrogates import NOT_JSON, any_json

MALFORMED = ErrorInfo("upstream", "the provider sent an event that is not valid JSON", reason="bad_answer")


class GeminiReader:
    """See ``providers.neutral.codec.Reader``."""

    def __init__(self, keeps: int = ANSWER) -> None:
        self._chunks = ChunkReader(keeps)
        self._ended = False

    def take(self, event: str, data: bytes) -> Sequence[Event]:
        if self._ended:
            return ()
        events = self._take(data)
        self._ended = bool(events) and isinstance(events[-1], ErrorInfo)
        return events

    def close(self) -> Sequence[Event]:
        if self._ended:
            return ()
        self._ended = True
        return self._chunks.close()

    def _take(self, data: bytes) -> Sequence[Event]:
        try:
            value = any_json(data)
        except NOT_JSON:
            return () if data.strip() == DONE else self._chunks.fail(MALFORMED)
        if isinstance(value, dict):
            try:
                return self._chunks.take(value)
            except GatewayError as error:
                return self._chunks.fail(error.failed)
        failed = array_failure(data)
        return () if failed is None else self._chunks.fail(failed)
