"""The byte lane: the provider's stream as it is, to a client of the same API."""

from collections.abc import Callable
from typing import Any, TypeAlias, assert_never

from gateway.streaming.lane import MapError, malformed, unfinished
from gateway.streaming.progress import StreamProgress
from providers.errors.failures import last_event
from providers.neutral.codec import Codec
from streams import sse
from streams.events import Api, ErrorInfo
from streams.surrogates import NOT_JSON, any_json

_GOOD_ENDS = ("message_stop", "response.completed", "response.incomplete")

Redact: TypeAlias = Callable[[bytes], bytes]
"""An upstream's bytes without credentials."""


class Passthrough:
    """The APIs agree: events pass as they are. The provider's reader reads along for the ledger and the end."""

    def __init__(
        self, codec: Codec, map_error: MapError, redact: Redact, event_limit: int, *, hides_usage: bool = False
    ) -> None:
        """``hides_usage``: the client has not asked for the event that holds nothing but token counts."""
        self._hides_usage = hides_usage
        self.seen = StreamProgress()
        self._codec = codec
        self._map_error = map_error
        self._redact = redact
        self._splitter = sse.Splitter(event_limit)
        self._reader = codec.reader()
        self._events = 0
        self._plain = True  # no `id:` or `retry:` line yet: comments do no harm
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._pass, self._splitter.feed(data)))

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        rest = unfinished(self._splitter)
        out = self._pass(rest + b"\n\n") if rest.strip() else rest
        for event in self._reader.close():
            if not isinstance(event, ErrorInfo):
                self.seen.see(event)
            elif failed is None:
                failed = event
        self._ended = True
        return out if failed is None or self.seen.over else out + self._tell(failed)

    def rest(self) -> bytes:
        """Line ends, such as the LF of a CRLF whose CR was the end of the last event."""
        rest = self._splitter.close()
        return b"" if rest.strip() or self.seen.failed is not None else rest

    def ping(self) -> bytes:
        if self.seen.over:
            return b""
        if self._codec.api == "messages":  # its SDKs skip events by name and have no trouble with comments either
            return sse.event("ping", {"type": "ping"}) if self._events else sse.COMMENT_PING
        return sse.COMMENT_PING if self._plain else b""

    def _pass(self, raw: bytes) -> bytes:
        """Read along; what goes to the client."""
        parsed = sse.parse(raw)
        if self._ended or self.seen.failed is not None:
            return self._redact(raw) if not self._ended and _is_second_word(parsed) else b""
        if parsed is None:
            self._plain = self._plain and sse.is_plain(raw)
            return raw
        name, data = parsed
        if b"id:" in raw or b"retry:" in raw:  # seldom, and then mostly inside the JSON
            self._plain = self._plain and sse.is_plain(raw)
        self._events += 1
        for event in self._reader.take(name, data):
            if isinstance(event, ErrorInfo):
                return self._failed(event, raw, name, data)
            self.seen.see(event)
        return b"" if self._hides_usage and self._codec.is_usage_alone(data) else raw

    def _failed(self, failed: ErrorInfo, raw: bytes, name: str, data: bytes) -> bytes:
        """The reader finds that the answer ends in failure with this event."""
        if malformed(data) or _is_array(data) or _is_good_end(name, data):  # no error to its parser, or what hides one
            return self._tell(failed)
        raw = self._redact(raw)
        if _is_known_error(self._codec.api, raw, name, data):
            self.seen.see(self._map_error(failed))
            return raw
        return raw + self._tell(failed)

    def _tell(self, failed: ErrorInfo) -> bytes:
        public = self._map_error(failed)
        self.seen.see(public)
        return last_event(self._codec.api, public, self.seen.start, self._events)


def _is_good_end(name: str, data: bytes) -> bool:
    """Whether a client takes the event for the end of a good answer, and reads no further."""
    return data.startswith(b"[DONE]") or (name or _member(data, "type")) in _GOOD_ENDS


def _is_second_word(parsed: tuple[str, bytes] | None) -> bool:
    """Whether an event behind an error says the same again: OpenAI sends ``error``, then the ``response.failed`` that
    Codex waits for. Nothing else passes there: a failed answer never looks complete (vLLM sends ``[DONE]`` after its
    error, BerriAI/litellm#40578)."""
    return parsed is not None and (parsed[0] or _member(parsed[1], "type")) == "response.failed"


def _is_known_error(api: Api, raw: bytes, name: str, data: bytes) -> bool:
    """Whether the SDKs of ``api`` raise for this event. The readers know errors in more shapes than they do."""
    if not any(line.startswith(b"data:") for line in raw.splitlines()):
        return False
    match api:
        case "chat":
            return bool(_member(data, "error"))
        case "messages":
            return name == "error"
        case "responses":
            return bool(_member(data, "error")) or _member(data, "type") in ("error", "response.failed")
        case _:
            assert_never(api)


def _member(data: bytes, name: str) -> Any:
    try:
        value = any_json(data)
    except NOT_JSON:
        return None
    return value.get(name) if isinstance(value, dict) else None


def _is_array(data: bytes) -> bool:
    return data.startswith(b"[") and not data.startswith(b"[DONE]")
