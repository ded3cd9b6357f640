"""The codec of Google Gemini (``generateContent`` and ``streamGenerateContent``), for clients and providers.

Client requests: ``incoming`` with ``contents`` (turns) and ``spellings`` (of member names), and ``adapting`` for Gemini
providers. Provider requests: ``outgoing`` with ``history`` (messages), ``turns`` (the model's, with signatures),
``media``, ``tools`` and ``settings``. ``schemas`` converts schemas both ways. Answers: ``reader`` with ``reading``
(parts), ``usage`` (token counts), ``citations`` and ``partial_arguments``; ``writer``. ``framing`` splits streams into
events, ``ends`` lists finish reasons, ``errors`` writes errors for clients.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.errors.failures import read_failure
from providers.errors.overflow import with_google_message
from providers.gemini.errors import error_event, is_own_error, write_error
from providers.gemini.framing import ARRAY, CRLF_SSE, KEEP_ALIVE
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Codec, Outgoing, Reader, Recipient, Reply, Writer
from providers.neutral.draft import Draft
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from providers.neutral.tool_names import ToolNaming
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams.events import AnswerStart, ErrorInfo, Event
from streams.fold import Answer

__all__ = ["GEMINI", "Gemini"]

WIRE = WireApi(
    "gemini",
    "gemini",
    "/models/{model}",
    # A token count may contain a whole request instead (``generateContentRequest``).
    Conversation("contents", (b"[", b"{", b'"'), "an array", optional=True),
    root="/v1beta",
    more_roots=("/v1",),
    operations={
        "answer": OperationPath(":generateContent", ":streamGenerateContent?alt=sse"),
        "count": OperationPath(":countTokens"),
    },
    model_member=None,
    stream_member=None,
    framing=CRLF_SSE,
    unless_asked=("alt=sse", ARRAY),
    refused_prompt=lambda text: {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": text}},
    client_tools=frozenset(("functionDeclarations", "function_declarations")),
    words=StreamWords(error_member=True),
    ping=KEEP_ALIVE,
    # https://ai.google.dev/api/caching#FunctionDeclaration; in Gemini's errors, tool names have the prefixes that its
    # models may use (anomalyco/opencode#4832).
    tool_naming=ToolNaming(re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}"), ("default_api:", "default_api.")),
    client_headers=("x-goog-api-client",),
    output_limits=("generationConfig.maxOutputTokens",),
    answer_counts=("generationConfig.candidateCount",),
)


class Gemini(Codec):
    """The ``Codec`` of Google Gemini.

    It imports each part on first use, because most gateways never speak this API.
    """

    wire = WIRE
    parts = tuple(f"providers.gemini.{part}" for part in ("incoming", "outgoing", "adapting", "reader", "writer"))
    write_error = staticmethod(write_error)
    read_error = staticmethod(read_failure)
    phrase_error = staticmethod(with_google_message)
    is_own_error = staticmethod(is_own_error)

    def read_request(self, body: Mapping[str, Any]) -> Request:
        from providers.gemini.incoming import read_request

        return read_request(body)

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        from providers.gemini.outgoing import write_request

        return write_request(request, to)

    def adapt(self, draft: Draft, to: Recipient) -> None:
        from providers.gemini.adapting import adapt

        adapt(draft, to)

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        from providers.gemini.adapting import restore

        return restore(body, issuer)

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        from providers.gemini.adapting import without_reasoning

        return without_reasoning(body)

    def reader(self, content_limit: int = ANSWER) -> Reader:
        from providers.gemini.reader import GeminiReader

        return GeminiReader(content_limit)

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        from providers.gemini.reader import read_answer

        return read_answer(body, texts, checked)

    def writer(self, reply: Reply) -> Writer:
        from providers.gemini.writer import GeminiWriter

        return GeminiWriter(reply)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        from providers.gemini.writer import write_answer

        return write_answer(answer, reply)

    def read_count(self, body: Mapping[str, Any]) -> Request:
        from providers.gemini.incoming import read_count_request

        return read_count_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        from providers.gemini.outgoing import write_count_request

        return write_count_request(request, to)

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"totalTokens": tokens})

    def last_event(self, error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return error_event(error)


GEMINI = Gemini()
