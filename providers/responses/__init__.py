"""The codec of OpenAI Responses (``/v1/responses``), for clients and providers.

Client requests: ``incoming`` with ``history`` (their input) and ``settings``, and ``adapting`` for Responses providers.
Provider requests: ``outgoing`` with ``items`` for the input. Answers: ``reader`` with ``reading`` (items by kind),
``open_answer`` (shared state); ``writer`` with ``writing`` (open items, numbering); ``answer``
writes whole answers, ``output`` items and response objects. ``tools`` maps tool names and makes the gateway's ids,
``compaction`` replaces a conversation by one item. Stored turns: ``kept_items`` prepares and lists their items,
``replay`` stores and repeats their events.

Source: OpenAI's API reference and the types of the openai package.
"""

import msgspec

from providers.errors.failures import is_openai_error, openai_error, read_failure
from providers.neutral.codec import Codec, Outgoing, Recipient, Reply
from providers.neutral.request import Request
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from providers.responses.adapting import adapt, restore, without_reasoning
from providers.responses.answer import (
    CompactionWriter,
    compaction_response,
    find_compaction,
    whole_answer,
    write_answer,
)
from providers.responses.compaction import compaction_item, compaction_request, is_compaction
from providers.responses.incoming import read_continuation, read_request
from providers.responses.outgoing import write_count_request, write_request
from providers.responses.output import failed_events, report_failure
from providers.responses.reader import ResponsesReader, read_answer
from providers.responses.writer import ResponsesWriter, TurnWriter
from providers.responses.writing import keep_alive_after
from streams.events import ErrorInfo

__all__ = [
    "RESPONSES",
    "Responses",
    "ResponsesWriter",
    "TurnWriter",
    "compaction_item",
    "compaction_request",
    "compaction_response",
    "find_compaction",
    "is_compaction",
    "read_continuation",
    "whole_answer",
]


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
    repeats_answer=True, repeats_request=True, stores_unasked=True, output_limits=("max_output_tokens",),
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


class Responses(Codec):
    """The ``Codec`` of OpenAI Responses."""

    wire = WIRE
    read_request = staticmethod(read_request)
    write_request = staticmethod(write_request)
    adapt = staticmethod(adapt)
    restore = staticmethod(restore)
    without_reasoning = staticmethod(without_reasoning)
    reader = ResponsesReader
    read_answer = staticmethod(read_answer)
    write_answer = staticmethod(write_answer)
    read_error = staticmethod(read_failure)
    last_event = staticmethod(failed_events)
    report_failure = staticmethod(report_failure)
    is_own_error = staticmethod(is_openai_error)

    def writer(self, reply: Reply) -> TurnWriter:
        return CompactionWriter(reply) if is_compaction(reply.request.source) else ResponsesWriter(reply)

    def write_error(self, error: ErrorInfo, request_id: str) -> bytes:
        return msgspec.json.encode({"error": openai_error(error)})

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        """Return a count request for this API's own clients only, because a translated request would be sent twice.

        See ``Codec.write_count``.
        """
        return write_count_request(request, to) if request.api == self.wire.name else None

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})


RESPONSES = Responses()
