"""The codec of Google Gemini (``generateContent`` and ``streamGenerateContent``), for clients and providers.

Client requests: ``incoming`` with ``contents`` (turns) and ``spellings`` (of member names), and ``adapting`` for Gemini
providers. Provider requests: ``outgoing`` with ``turns`` (the model's, with signatures), ``media`` and ``settings``.
``schemas`` converts schemas both ways, ``shared_members`` what Interactions spells differently. Answers: ``reader``
with ``reading`` (parts) and ``usage`` (token counts); ``writer``. ``framing`` splits streams into events, ``errors``
lists finish reasons and writes errors for clients.
"""

import re

from providers.errors.failures import read_failure
from providers.errors.overflow import with_google_message
from providers.gemini.framing import ARRAY, CRLF_SSE, error_parts
from providers.neutral.late_codec import LateCodec, late
from providers.neutral.tool_names import ToolNaming
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi

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
    fetches_links=False,
    words=StreamWords(error_member=True),
    error_parts=error_parts,
    # https://ai.google.dev/api/caching#FunctionDeclaration; in Gemini's errors, tool names have the prefixes that its
    # models may use (anomalyco/opencode#4832).
    tool_naming=ToolNaming(re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}"), ("default_api:", "default_api."), True),
    client_headers=("x-goog-api-client",),
    count_member="totalTokens",
)


class Gemini(LateCodec):
    """The ``Codec`` of Google Gemini."""

    wire = WIRE
    package = __name__
    own_parts = ("errors",)
    write_error = late("errors", "write_error")
    read_error = staticmethod(read_failure)
    phrase_error = staticmethod(with_google_message)
    is_own_error = late("errors", "is_own_error")

    last_event = late("errors", "last_event")


GEMINI = Gemini()
