"""The least content of endpoints' complete responses, without which a success status hides a provider's failure."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

from providers.errors.failures import EMPTY, NOT_OBJECT, WEB_PAGE, read_event_failure
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.sse import SSE
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import any_json, decode_or

AnswerKind: TypeAlias = Literal["json", "binary", "text", "any", "unchecked"]
"""JSON, binary data, other text, anything except a web page and an error, or anything. The last two may be empty."""

_NOT_BINARY: Final = ErrorInfo("upstream", "the provider sent text instead of binary data", reason="bad_answer")
_CLOSING: Final = {b"{": b"}", b"[": b"]"}
_FAILED: Final = frozenset(("error", "type", "request_id", "message", "code", "status", "detail"))
"""Members of a response that is only an error. Others, such as a video that failed, are objects with one."""


@attrs.frozen(repr=False)
class AnswerForm:
    """The least content of a complete response that is no stream of events.

    A JSON object has at least one of ``members``, and a text one of these words, unless there are none. JSON may also
    be an array if it ``may_be_list``, and a text ``may_be_empty``. Methods raise ``GatewayError`` for other
    responses."""

    kind: AnswerKind = "json"
    members: tuple[str, ...] = ()
    may_be_list: bool = False
    may_be_empty: bool = False

    def check_type(self, media_type: str) -> None:
        """Check that a response with this content type is no web page."""
        if self.kind != "unchecked" and media_type.startswith("text/html"):
            raise GatewayError.of(WEB_PAGE)

    def for_type(self, media_type: str) -> "AnswerForm":
        """Return the form of a response with this content type: labelled as binary data or as several JSON texts, it is
        no JSON to decode. vLLM's token vectors may be binary."""
        if self.kind == "binary" and media_type.startswith("text/"):
            raise GatewayError.of(_NOT_BINARY)
        if self.kind == "json" and (media_type.startswith("application/octet-stream") or _has_lines(media_type)):
            return BINARY
        return self

    def is_decoded(self, media_type: str) -> bool:
        """Return whether a short response with this content type is checked before its head is sent."""
        return self.kind in ("json", "text") or ("json" in media_type and not _has_lines(media_type))

    def decode(self, body: bytes, *, is_json: bool) -> object:
        """Return the value of a complete JSON ``body``, ``None`` for others that pass; ``is_json`` is their label."""
        start = body.lstrip()[:1]
        if not body and self.kind in ("binary", "text") and not self.may_be_empty:
            raise GatewayError.of(EMPTY)
        if self.kind == "text" and not (is_json and start in _CLOSING):
            if start and self.members and not any(word.encode() in body for word in self.members):
                raise GatewayError.of(_lacks(self.members))
            return None
        if has_more_elements(body, MAX_ELEMENTS):
            self.check_ends(start, body.rstrip()[-1:])
            return None
        value: object = decode_or(any_json, body, None)
        if value is None:
            self._check_other_text(body)
        elif self.kind != "unchecked" and isinstance(value, dict) and value.get("error") and value.keys() <= _FAILED:
            raise GatewayError.of(read_event_failure(value))
        return value

    def check(self, value: object) -> None:
        """Check the type and the members of a decoded ``value``."""
        if self.kind not in ("json", "binary") or (self.may_be_list and isinstance(value, list)):
            return
        if not isinstance(value, dict):
            raise GatewayError.of(NOT_OBJECT)
        if self.members and not any(name in value for name in self.members):
            raise GatewayError.of(_lacks(self.members))

    def check_whole(self, body: bytes) -> None:
        """Check a complete JSON ``body``."""
        if (value := self.decode(body, is_json=True)) is not None:
            self.check(value)

    def begin_long(self, parts: Sequence[bytes]) -> tuple[bytes, bytes] | None:
        """Return the first and last byte of the beginning of long JSON, ``None`` for a body that passes unchecked."""
        if self.kind not in ("json", "binary"):
            return None
        body = b"".join(parts).strip()
        if body[:1] in _CLOSING:
            return body[:1], body[-1:]
        self._check_other_text(body[:1024])
        return None

    def check_ends(self, first: bytes, last: bytes) -> None:
        """Check the first and last byte of JSON that is not decoded."""
        if self.kind in ("json", "binary") and _CLOSING.get(first) != last:
            raise GatewayError.of(NOT_OBJECT)

    def _check_other_text(self, body: bytes) -> None:
        """Check that a ``body`` which is not one JSON text has several, or events with a wrong content type."""
        if self.kind in ("any", "unchecked") or SSE.begins(body):
            return
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) < 2 or any(decode_or(any_json, line, None) is None for line in lines):
            raise GatewayError.of(NOT_OBJECT)


def _has_lines(media_type: str) -> bool:
    return any(name in media_type for name in ("jsonl", "ndjson", "json-seq"))


def _lacks(members: tuple[str, ...]) -> ErrorInfo:
    return ErrorInfo("upstream", f"the provider's answer has no {' or '.join(members)}", reason="bad_answer")


JSON: Final = AnswerForm()
BINARY: Final = AnswerForm("binary")
TEXT: Final = AnswerForm("text")
ANY: Final = AnswerForm("any")
UNCHECKED: Final = AnswerForm("unchecked")

TRANSCRIPTS: Final = {
    "text": AnswerForm("text", may_be_empty=True),  # of silence
    "srt": AnswerForm("text", ("-->",), may_be_empty=True),
    "vtt": AnswerForm("text", ("WEBVTT",)),
}
"""The forms of transcripts whose ``response_format`` is not JSON."""

_CHOICES: Final = AnswerForm(members=("choices",))
_LIST: Final = AnswerForm(may_be_list=True)
_TRANSCRIPT: Final = AnswerForm(members=("text",))

FORMS: Final[Mapping[str, AnswerForm]] = {
    "completions": _CHOICES,
    "fim": _CHOICES,
    "rerank": AnswerForm(members=("results", "data", "scores"), may_be_list=True),  # one for each shape
    "predict": _LIST,
    "similarity": _LIST,
    "speech": BINARY,
    "transcriptions": _TRANSCRIPT,
    "translations": _TRANSCRIPT,
}
"""The forms of responses by endpoint; others are JSON objects. Members are those that each API guarantees."""
