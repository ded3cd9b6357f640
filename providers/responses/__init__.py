"""OpenAI Responses (`/v1/responses`), both roles.

A client's request: ``incoming`` reads it, with ``history`` (its input) and ``settings``; ``adapting`` edits it for a
provider of the same API. A provider's request: ``outgoing`` writes it, with ``items`` for its input. Answers:
``reader`` reads them, with ``reading`` (items by kind), ``open_answer`` (their state) and ``values`` (members of any
type); ``writer`` writes streams, with ``writing`` (open items) and ``numbering``; ``answer`` writes whole answers,
``output`` has the items and objects of both. ``tools`` names tools, ``ids`` makes the ids of the gateway.
``compaction`` is the item that replaces a conversation. Kept turns: ``kept_items`` prepares and lists their items,
``replay`` stores and repeats their events.

Source: OpenAI's API reference and the types of the openai package.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.errors.failures import is_openai_error, openai_error, read_failure
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Outgoing, Reader, Recipient, Reply
from providers.neutral.draft import Draft
from providers.neutral.request import Request
from providers.neutral.seal import PREFIX, Issuer, unseal
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from providers.responses import compaction
from providers.responses.adapting import adapt
from providers.responses.answer import CompactionWriter, compacted, compaction_of, whole_answer, write_answer
from providers.responses.compaction import compaction_item, compaction_request, is_compaction
from providers.responses.ids import is_ours
from providers.responses.incoming import read_continued, read_request
from providers.responses.items import returned, without_own_id
from providers.responses.outgoing import write_count_request, write_request
from providers.responses.output import count_body, failed_events
from providers.responses.reader import ResponsesReader, read_answer
from providers.responses.writer import ResponsesWriter, TurnWriter
from streams.events import AnswerStart, ErrorInfo, Event
from streams.fold import Answer

__all__ = [
    "RESPONSES",
    "Responses",
    "ResponsesWriter",
    "TurnWriter",
    "compacted",
    "compaction_item",
    "compaction_of",
    "compaction_request",
    "is_compaction",
    "read_continued",
    "whole_answer",
]


WIRE = WireApi(
    "responses",
    "openai_responses",
    "/responses",
    Conversation("input", (b"[", b'"'), "a string or an array", optional=True),  # a stored prompt may have it
    operations={
        "answer": OperationPath(), "count": OperationPath("/input_tokens"), "compact": OperationPath("/compact"),
    },
    words=StreamWords(
        ends=frozenset(("response.completed", "response.incomplete")),
        error_types=frozenset(("error", "response.failed")),
        error_member=True,
        after_error=frozenset(("response.failed",)),  # OpenAI sends `error` first, and Codex waits for this
    ),
    repeats_answer=True, stores_unasked=True,
    # Codex's own say which conversation a request is part of, by which OpenAI finds its prompt cache; in older versions
    # with an underscore.
    client_headers=(
        "openai-beta", "originator", "version", "session-id", "session_id", "thread-id", "thread_id",
        "conversation-id", "conversation_id", "x-codex-*", "x-openai-subagent",
    ),
    # Of the calls about a response that the provider keeps; ``[]`` also as it is encoded.
    query_members=frozenset(
        ("after", "before", "include", "include[]", "include%5B%5D", "include_obfuscation", "limit", "order",
         "starting_after", "stream")
    ),
)  # fmt: skip


class Responses:
    """The ``Codec`` of OpenAI Responses."""

    wire = WIRE
    api = WIRE.name

    def read_request(self, body: Mapping[str, Any]) -> Request:
        return read_request(body)

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        return write_request(request, to)

    def adapt(self, draft: Draft, to: Recipient) -> None:
        adapt(draft, to)

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """See ``Codec.restore``. A sealed reasoning item goes as a whole: what is left of it says nothing. Ids that
        trigate made mean nothing to a provider (Kilo-Org/kilocode#10197): they come off, and what is only an id goes.
        """
        items = body.get("input")
        if not isinstance(items, list):
            return {}, ()
        restored = [_restored(item, issuer) for item in items]
        if all(len(new) == 1 and new[0] is item for new, item in zip(restored, items, strict=True)):
            return {}, ()
        return {"input": [item for new in restored for item in new]}, () if all(restored) else ("input[]",)

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        items = body.get("input")
        kept = [item for item in items if not _is_reasoning(item)] if isinstance(items, list) else []
        return ({"input": kept}, ("input[]",)) if isinstance(items, list) and len(kept) < len(items) else ({}, ())

    def reader(self, keeps: int = ANSWER) -> Reader:
        return ResponsesReader(keeps)

    def is_usage_alone(self, data: bytes) -> bool:
        return False  # counts come unasked

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        return read_answer(body, checked)

    def writer(self, reply: Reply) -> TurnWriter:
        return CompactionWriter(reply) if is_compaction(reply.request.source) else ResponsesWriter(reply)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        return write_answer(answer, reply)

    def write_error(self, failed: ErrorInfo, request_id: str) -> bytes:
        return msgspec.json.encode({"error": openai_error(failed)})

    def read_error(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
        return read_failure(status, body, headers)

    def read_count(self, body: Mapping[str, Any]) -> Request:
        return read_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        """Of the API's own clients alone: what is translated is not asked about twice."""
        return write_count_request(request, to) if request.api == WIRE.name else None

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode(count_body(tokens))

    def last_event(self, failed: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return failed_events(failed, begin, events)

    def phrase_error(self, failed: ErrorInfo) -> ErrorInfo:
        return failed

    def is_own_error(self, body: Mapping[str, Any]) -> bool:
        return is_openai_error(body)


def _is_reasoning(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning"


def _restored(item: Any, issuer: Issuer) -> list[Any]:
    """The item that goes to the provider for ``item``; nothing where it is somebody else's, or ours and without
    content."""
    if not isinstance(item, dict):
        return [item]
    if compaction.is_own(item):
        text = compaction.summary(item)
        return [] if text is None else [compaction.as_message(text)]
    if (text := _sealed(item)) is not None:
        seal = unseal(text)
        return [] if seal is None else returned(seal, issuer)
    if is_ours(item.get("id")) and item.get("type") in ("reasoning", "item_reference"):
        return []
    return [without_own_id(item)]


def _sealed(item: Mapping[str, Any]) -> str | None:
    """The seal in a reasoning item, ``None`` where there is none."""
    if item.get("type") != "reasoning":
        return None
    text = item.get("encrypted_content")
    return text if isinstance(text, str) and text.startswith(PREFIX) else None


RESPONSES = Responses()
