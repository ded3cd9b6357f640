"""Google Gemini: the codec of ``generateContent`` and ``streamGenerateContent``, both roles.

A client's request: ``incoming`` reads it, with ``contents`` (turns) and ``spellings`` (both spellings of members);
``adapting`` edits it for a provider of the same API. A provider's request: ``outgoing`` writes it, with ``history``
(messages), ``turns`` (the model's and their signatures), ``media``, ``tools`` and ``settings``. ``schemas`` translates
schemas in both directions. Answers: ``reader`` reads them, with ``reading`` (parts), ``citations`` and
``partial_arguments``; ``writer`` writes them. ``framing`` cuts streams into events, ``ends`` lists why answers end,
``errors`` writes errors for clients.
"""

import re

import msgspec

from providers.errors.failures import read_failure
from providers.errors.overflow import in_google_words
from providers.gemini.adapting import adapt, restore, without_reasoning
from providers.gemini.errors import error_event, is_own_error, write_error
from providers.gemini.framing import ARRAY, CRLF_SSE, KEEP_ALIVE
from providers.gemini.incoming import read_count_request, read_request
from providers.gemini.outgoing import write_count_request, write_request
from providers.gemini.reader import GeminiReader, read_answer
from providers.gemini.writer import GeminiWriter, write_answer
from providers.neutral.codec import Codec
from providers.neutral.tool_names import ToolNaming
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams.events import AnswerStart, ErrorInfo

__all__ = ["GEMINI", "Gemini"]

WIRE = WireApi(
    "gemini",
    "gemini",
    "/models/{model}",
    Conversation("contents", (b"[", b"{", b'"'), "an array"),
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
    client_tools=frozenset(("functionDeclarations", "function_declarations")),
    words=StreamWords(error_member=True),
    ping=KEEP_ALIVE,
    # https://ai.google.dev/api/caching#FunctionDeclaration; Gemini's own errors name tools as its models may call them
    # (anomalyco/opencode#4832).
    tool_naming=ToolNaming(re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}"), ("default_api:", "default_api.")),
    client_headers=("x-goog-api-client",),
)


class Gemini(Codec):
    """The ``Codec`` of Google Gemini."""

    wire = WIRE
    read_request = staticmethod(read_request)
    write_request = staticmethod(write_request)
    adapt = staticmethod(adapt)
    restore = staticmethod(restore)
    without_reasoning = staticmethod(without_reasoning)
    reader = GeminiReader
    read_answer = staticmethod(read_answer)
    writer = GeminiWriter
    write_answer = staticmethod(write_answer)
    write_error = staticmethod(write_error)
    read_error = staticmethod(read_failure)
    read_count = staticmethod(read_count_request)
    write_count = staticmethod(write_count_request)
    phrase_error = staticmethod(in_google_words)
    is_own_error = staticmethod(is_own_error)

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"totalTokens": tokens})

    def last_event(self, failed: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return error_event(failed)


GEMINI = Gemini()
