"""Anthropic Messages: the codec of ``/v1/messages``, both roles.

A client's request: ``incoming`` reads it, with ``content`` for its blocks; ``adapting`` edits it for other servers than
Anthropic's. A provider's request: ``outgoing`` writes it, with ``blocks`` (messages and media) and ``settings``.
Streams: ``reader`` with ``reading`` reads them, ``writer`` writes them. ``answer`` reads and writes whole answers,
``usage`` their token counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.errors.failures import is_messages_error, messages_error, read_failure
from providers.errors.overflow import in_anthropic_words
from providers.errors.rejected import BETA
from providers.messages.adapting import adapt
from providers.messages.answer import read_answer, write_answer
from providers.messages.blocks import restored
from providers.messages.incoming import read_count_request, read_request
from providers.messages.outgoing import write_count_request, write_request
from providers.messages.reader import MessagesReader
from providers.messages.writer import MessagesWriter
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Outgoing, Reader, Recipient, Reply, Writer
from providers.neutral.draft import Draft
from providers.neutral.fields import generic, join
from providers.neutral.request import Request
from providers.neutral.seal import PREFIX, Issuer, unseal
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams import sse
from streams.events import AnswerStart, ErrorInfo, Event
from streams.fold import Answer

__all__ = ["MESSAGES", "Messages", "read_count_request", "write_count_request"]

_OPAQUE = {"thinking": "signature", "redacted_thinking": "data"}  # where a block holds what the provider wants back


WIRE = WireApi(
    "messages",
    "anthropic_messages",
    "/messages",
    Conversation("messages"),
    operations={"answer": OperationPath(), "count": OperationPath("/count_tokens")},
    words=StreamWords(ends=frozenset(("message_stop",)), error_names=frozenset(("error",))),
    ping=sse.event("ping", {"type": "ping"}),
    # Claude Code's own headers (its session's id among them) are made for Anthropic.
    client_headers=("anthropic-*", "x-app", "x-claude-*", "x-anthropic-*"),
    query_members=frozenset(("beta",)),
    version_header="anthropic-version",
    beta_header=BETA,
    long_context_beta="context-1m-2025-08-07",
    id_headers=("x-request-id", "request-id"),
    requires_limit=True,
    charges_cache_writes=True,
    own_statuses=frozenset((529,)),
)
"""Claude Code sends the beta in place of ``[1m]``; newer models have that window without it, and take it."""


class Messages:
    """See ``providers.neutral.codec.Codec``."""

    wire = WIRE
    api = WIRE.name

    def read_request(self, body: Mapping[str, Any]) -> Request:
        return read_request(body)

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        return write_request(request, to)

    def adapt(self, draft: Draft, to: Recipient) -> None:
        adapt(draft, to)

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        messages = body.get("messages")
        if not isinstance(messages, list):
            return {}, ()
        changed = False
        dropped: dict[str, None] = {}
        result = []
        for i, message in enumerate(messages):
            at = join(join("messages", i), "content")
            content = message.get("content") if isinstance(message, dict) else None
            blocks = _unsealed(content, issuer, at, dropped) if isinstance(content, list) else None
            if blocks is None:
                result.append(message)
                continue
            changed = True
            if blocks:  # a message without content is a 400, and two of a user's in a row are none
                result.append({**message, "content": blocks})
        return ({"messages": result} if changed else {}), tuple(dropped)

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        messages = body.get("messages")
        dropped: dict[str, None] = {}
        kept = [_unreasoned(message, dropped) for message in messages] if isinstance(messages, list) else []
        return ({"messages": [message for message in kept if message is not None]} if dropped else {}), tuple(dropped)

    def reader(self, keeps: int = ANSWER) -> Reader:
        return MessagesReader(keeps)

    def is_usage_alone(self, data: bytes) -> bool:
        return False  # counts come unasked

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        return read_answer(body, checked)

    def writer(self, reply: Reply) -> Writer:
        return MessagesWriter(reply)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        return write_answer(answer, reply)

    def write_error(self, failed: ErrorInfo, request_id: str) -> bytes:
        return msgspec.json.encode({"type": "error", "error": messages_error(failed), "request_id": request_id})

    def read_error(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
        return read_failure(status, body, headers)

    def read_count(self, body: Mapping[str, Any]) -> Request:
        return read_count_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        return write_count_request(request, to)

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"input_tokens": tokens})

    def last_event(self, failed: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return sse.event("error", {"type": "error", "error": messages_error(failed)})

    def phrase_error(self, failed: ErrorInfo) -> ErrorInfo:
        return in_anthropic_words(failed)

    def is_own_error(self, body: Mapping[str, Any]) -> bool:
        return is_messages_error(body)


def _unreasoned(message: Any, dropped: dict[str, None]) -> Any:
    """``message`` without its thinking; ``None`` if nothing else is in it."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    blocks = [block for block in content if not (isinstance(block, dict) and block.get("type") in _OPAQUE)]
    if len(blocks) == len(content):
        return message
    dropped["messages[].content[]"] = None
    return {**message, "content": blocks} if blocks else None


def _unsealed(content: list[Any], issuer: Issuer, at: str, dropped: dict[str, None]) -> list[Any] | None:
    """``content`` with the seals in it resolved, ``None`` if it holds none."""
    blocks: list[Any] = []
    found = False
    for i, block in enumerate(content):
        opaque = block.get(_OPAQUE.get(str(block.get("type")), "")) if isinstance(block, dict) else None
        if not isinstance(opaque, str) or not opaque.startswith(PREFIX):
            blocks.append(block)
            continue
        found = True
        seal = unseal(opaque)
        native = restored(seal, issuer) if seal is not None else None
        if native is None:
            dropped[generic(join(at, i))] = None
        else:
            blocks.extend(native)
    return blocks if found else None


MESSAGES = Messages()
