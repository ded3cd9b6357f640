"""OpenAI Chat Completions, both roles.

A client's request: ``incoming`` and ``history`` read it, ``adapting`` edits it for a provider of the same API. A
provider's request: ``outgoing`` writes it, with ``parts`` of messages and ``settings``. Answers: ``reader`` reads them,
with ``chunks`` (decoding), ``reading`` (content by kind) and ``fragments`` (tool calls); ``writer`` writes them, with
``tools``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.chat.adapting import adapt
from providers.chat.incoming import read_request
from providers.chat.outgoing import write_request
from providers.chat.parts import TYPED_FIELD, native_members
from providers.chat.reader import ChatReader, read_answer
from providers.chat.writer import ChatWriter, is_usage_alone, write_answer
from providers.errors.failures import is_openai_error, openai_error, read_failure
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Outgoing, Recipient, Reply
from providers.neutral.draft import Draft
from providers.neutral.fields import Drops
from providers.neutral.request import Request
from providers.neutral.seal import PREFIX, Issuer, unseal
from providers.neutral.wire_api import Conversation, StreamWords, WireApi
from streams import sse
from streams.events import AnswerStart, ErrorInfo, Event
from streams.fold import Answer

WIRE = WireApi(
    "chat",
    "openai_chat",
    "/chat/completions",
    Conversation("messages"),
    words=StreamWords(error_member=True),
    client_headers=("openai-beta",),
)


class Chat:
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
        return restore(body, issuer)

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """Chat's reasoning is plain text, which no provider refuses."""
        return {}, ()

    def reader(self, keeps: int = ANSWER) -> ChatReader:
        return ChatReader(keeps)

    def is_usage_alone(self, data: bytes) -> bool:
        return is_usage_alone(data)

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        return read_answer(body, texts, checked)

    def writer(self, reply: Reply) -> ChatWriter:
        return ChatWriter(reply)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        return write_answer(answer, reply)

    def write_error(self, failed: ErrorInfo, request_id: str) -> bytes:
        """The id stands in a header only: Chat's body has no place for it."""
        return msgspec.json.encode({"error": openai_error(failed)})

    def read_error(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
        return read_failure(status, body, headers)

    def read_count(self, body: Mapping[str, Any]) -> Request:
        return read_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        return None

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"input_tokens": tokens})

    def last_event(self, failed: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return sse.data({"error": openai_error(failed)})

    def phrase_error(self, failed: ErrorInfo) -> ErrorInfo:
        return failed

    def is_own_error(self, body: Mapping[str, Any]) -> bool:
        return is_openai_error(body)


CHAT = Chat()


def restore(body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """``messages`` with every seal in their ``reasoning_details`` resolved, as ``Codec.restore`` says."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return {}, ()
    drops = Drops()
    restored = [_restored(message, issuer, drops) for message in messages]
    changed = any(new is not old for new, old in zip(restored, messages, strict=True))
    return ({"messages": restored} if changed else {}), drops.paths()


def _restored(message: Any, issuer: Issuer, drops: Drops) -> Any:
    """The message itself where it holds no seal, otherwise a changed copy.

    ``reasoning_content`` beside a seal is the readable text of what is sealed, so it goes when the seal goes."""
    details = message.get("reasoning_details") if isinstance(message, dict) else None
    if not isinstance(details, list) or not any(map(_is_sealed, details)):
        return message
    restored = dict(message)
    text = restored.get("reasoning_content")
    kept: list[Any] = []
    for detail in details:
        if not _is_sealed(detail):
            kept.append(detail)
        elif members := _unsealed(detail["data"], issuer, text if isinstance(text, str) else ""):
            kept.extend(members.pop("reasoning_details", ()))
            if members:
                restored.pop("reasoning_content", None)
            if typed := members.pop(TYPED_FIELD, None):
                members[TYPED_FIELD] = [*typed, *_parts(restored.get(TYPED_FIELD))]
            restored |= members
        else:
            drops.add("messages[].reasoning_details[]")
            if restored.pop("reasoning_content", None) is not None:
                drops.add("messages[].reasoning_content")
    restored["reasoning_details"] = kept
    if not kept:
        del restored["reasoning_details"]
    return restored


def _parts(content: Any) -> list[Any]:
    """``content`` as a list of parts."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content if isinstance(content, list) else []


def _is_sealed(detail: Any) -> bool:
    data = detail.get("data") if isinstance(detail, dict) else None
    return isinstance(data, str) and data.startswith(PREFIX)


def _unsealed(data: str, issuer: Issuer, text: str) -> dict[str, Any]:
    """The members that a seal of ``issuer`` stands for; none if it is somebody else's or of another API."""
    seal = unseal(data)
    if seal is None or seal.api != "chat" or not issuer.made(seal):
        return {}
    members: dict[str, Any] = {}
    for item in seal.item if isinstance(seal.item, list) else [seal.item]:
        for name, value in native_members(item, text).items():
            members[name] = members[name] + value if isinstance(value, list) and name in members else value
    return members
