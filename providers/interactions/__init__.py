"""The codec of Google's Interactions API (``/v1beta/interactions``), for clients and providers.

Client requests: ``incoming`` (settings and tools) with ``steps`` (their input) and ``media``, and ``adapting`` for
Interactions providers. Provider requests: ``outgoing`` with ``history`` (messages), ``tools`` and ``settings``. Answers
of providers: ``reader`` with ``reading`` (steps) and ``open_answer`` (shared state). Answers for clients: ``writer``
(streams) and ``answer`` (whole), which share ``written`` (the steps). Both use ``citations`` and ``usage``. ``errors``
writes errors.

Source: the types of the google-genai package (``_gaos/types/interactions``) and the page "Streaming interactions".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.errors.failures import read_failure
from providers.errors.overflow import with_google_message
from providers.gemini import GEMINI
from providers.interactions.errors import error_event, is_own_error, write_error
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Codec, Outgoing, Reader, Recipient, Reply, Writer
from providers.neutral.draft import Draft
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from providers.neutral.wire_api import Conversation, StreamWords, WireApi
from streams.events import AnswerStart, ErrorInfo, Event
from streams.fold import Answer

__all__ = ["INTERACTIONS", "Interactions"]

WIRE = WireApi(
    "interactions",
    "google_interactions",
    "/interactions",
    # A request that continues an unfinished interaction has no input.
    Conversation("input", (b'"', b"[", b"{"), "a string, an object or an array", optional=True),
    root="/v1beta",
    words=StreamWords(
        ends=frozenset(("interaction.completed",)), error_names=frozenset(("error",)), type_member="event_type"
    ),
    stores_unasked=True,
    tool_naming=GEMINI.wire.tool_naming,
    version_header="api-revision",
    default_version="2026-05-20",
    client_headers=("api-revision", "x-goog-api-client"),
    query_members=frozenset(("alt", "include_input", "last_event_id", "stream")),
    output_limits=("generation_config.max_output_tokens",),
)


class Interactions(Codec):
    """The ``Codec`` of Google's Interactions.

    It imports each part on first use, because most gateways never speak this API.
    """

    wire = WIRE
    parts = tuple(
        f"providers.interactions.{part}" for part in ("incoming", "outgoing", "adapting", "reader", "writer", "answer")
    )
    write_error = staticmethod(write_error)
    read_error = staticmethod(read_failure)
    phrase_error = staticmethod(with_google_message)
    is_own_error = staticmethod(is_own_error)

    def read_request(self, body: Mapping[str, Any]) -> Request:
        from providers.interactions.incoming import read_request

        return read_request(body)

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        from providers.interactions.outgoing import write_request

        return write_request(request, to)

    def adapt(self, draft: Draft, to: Recipient) -> None:
        from providers.interactions.adapting import adapt

        adapt(draft, to)

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        from providers.interactions.adapting import restore

        return restore(body, issuer)

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        from providers.interactions.adapting import without_reasoning

        return without_reasoning(body)

    def reader(self, content_limit: int = ANSWER) -> Reader:
        from providers.interactions.reader import InteractionsReader

        return InteractionsReader(content_limit)

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        from providers.interactions.reader import read_answer

        return read_answer(body, texts, checked)

    def writer(self, reply: Reply) -> Writer:
        from providers.interactions.writer import InteractionsWriter

        return InteractionsWriter(reply)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        from providers.interactions.answer import write_answer

        return write_answer(answer, reply)

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"total_tokens": tokens})

    def last_event(self, error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return error_event(error, events + 1)


INTERACTIONS = Interactions()
