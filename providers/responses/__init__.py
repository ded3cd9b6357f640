"""The codec of OpenAI Responses (``/v1/responses``), for clients and providers.

Client requests: ``incoming`` with ``history`` (their input) and ``settings``, and ``adapting`` for Responses providers.
Provider requests: ``outgoing`` with ``items`` for the input. Answers: ``reader`` with ``reading`` (items by kind),
``open_answer`` (shared state); ``writer`` with ``writing`` (open items, numbering); ``answer``
writes whole answers, ``output`` items and response objects. ``tools`` maps tool names and makes the gateway's ids,
``compaction`` replaces a conversation by one item. Stored turns: ``kept_items`` prepares and lists their items,
``replay`` stores and repeats their events.

Source: OpenAI's API reference and the types of the openai package.
"""

import re
from typing import Final

import msgspec

from providers.errors.failures import is_openai_error, openai_error, read_failure
from providers.neutral.codec import Codec
from providers.neutral.late_codec import LateCodec, late
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams import sse
from streams.events import ErrorInfo

REPLACED: Final = ("previous_response_id", "conversation")
"""The settings that items of earlier turns replace."""

_NUMBER: Final = re.compile(rb'"sequence_number": ?(\d+)')  # a string cannot contain it: its quotes are escaped


def keep_alive_after(events: bytes) -> bytes:
    """Return OpenAI's own keep-alive, with the number of the last of ``events``, 0 without one.

    Later events keep their numbers, and a client that resumes the stream after the keep-alive misses none."""
    return sse.event("keepalive", {"type": "keepalive", "sequence_number": last_number(events)})


def last_number(events: bytes) -> int:
    """Return the sequence number of the last of ``events``, 0 without one."""
    numbers = _NUMBER.findall(events)
    return int(numbers[-1]) if numbers else 0


WIRE = WireApi(
    "responses",
    "openai_responses",
    "/responses",
    Conversation("input", (b"[", b'"'), "a string or an array", optional=True),  # a stored prompt may include the input
    operations={
        "answer": OperationPath(), "count": OperationPath("/input_tokens"), "compact": OperationPath("/compact"),
    },
    words=StreamWords(
        ends=frozenset(("response.completed", "response.incomplete")),
        error_types=frozenset(("error", "response.failed")),
        error_member=True,
        after_error=frozenset(("response.failed",)),  # OpenAI sends `error` first, but Codex waits for it
        keep_alives=frozenset(("keepalive",)),
    ),
    counted_ping=keep_alive_after,
    repeats_answer=True, repeats_request=True, stores_unasked=True,
    # Codex's own headers identify the conversation, which helps OpenAI find its prompt cache; older versions use
    # underscores.
    client_headers=(
        "openai-beta", "originator", "version", "session-id", "session_id", "thread-id", "thread_id",
        "conversation-id", "conversation_id", "x-codex-*", "x-openai-subagent", "x-openai-memgen-request",
        "x-openai-internal-codex-responses-lite",
    ),
    # For calls about stored responses; ``[]`` may also arrive encoded.
    query_members=frozenset(
        ("after", "before", "include", "include[]", "include%5B%5D", "include_obfuscation", "limit", "order",
         "starting_after", "stream")
    ),
)  # fmt: skip


class Responses(LateCodec):
    """The ``Codec`` of OpenAI Responses."""

    wire = WIRE
    package = __name__
    own_parts = ("answer", "output")
    read_count = Codec.read_count
    read_continuation = late("incoming", "read_continuation")
    writer = late("answer", "open_writer")
    write_answer = late("answer", "write_answer")
    read_error = staticmethod(read_failure)
    last_event = late("output", "failed_events")
    repeated_error = late("output", "repeated_error")
    report_failure = late("output", "report_failure")
    is_own_error = staticmethod(is_openai_error)

    def write_error(self, error: ErrorInfo, request_id: str) -> bytes:
        return msgspec.json.encode({"error": openai_error(error)})

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})


RESPONSES = Responses()
