"""The codec of Amazon Bedrock Converse (``Converse`` and ``ConverseStream``), for clients and providers.

Client requests: ``incoming`` with ``content``, and ``adapting`` for Converse providers. Provider requests: ``outgoing``
with ``history`` (messages), ``media``, ``cache_points`` and ``settings``; ``families`` lists what each family of models
accepts. Answers: ``reader`` with ``reading``, and ``writer``. ``wording`` and ``errors`` serve both roles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.converse.errors import error_event, error_headers, is_own_error, phrase_error, read_error, write_error
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Codec, Outgoing, Reader, Recipient, Reply, Writer
from providers.neutral.draft import Draft
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams.event_stream import ERROR, EVENT_STREAM, EXCEPTION, event_frame
from streams.events import AnswerStart, ErrorInfo, Event
from streams.fold import Answer

__all__ = ["CONVERSE", "Converse"]

PING = event_frame("ping", b"{}")
"""A keep-alive: SDKs skip frames of events that are not in their service model."""

WIRE = WireApi(
    "converse",
    "bedrock_converse",
    "/model/{model}",
    Conversation("messages", optional=True),  # a stored prompt and a token count have none here
    root="",
    operations={
        "answer": OperationPath("/converse", "/converse-stream"),
        "count": OperationPath("/count-tokens"),
    },
    model_member=None,
    stream_member=None,
    framing=EVENT_STREAM,
    tools_within="toolConfig",
    client_tools=frozenset(("toolSpec", "cachePoint")),
    words=StreamWords(ends=frozenset(("metadata",)), error_names=frozenset((EXCEPTION, ERROR))),
    ping=PING,
    error_headers=error_headers,
    id_headers=("x-request-id", "x-amzn-requestid"),
    # Additional fields reach the model unchanged: Claude's, Nova's, Llama's, and those of other makers.
    output_limits=(
        "inferenceConfig.maxTokens",
        *(
            f"additionalModelRequestFields.{name}"
            for name in ("max_tokens", "max_new_tokens", "max_gen_len", "max_completion_tokens", "max_tokens_to_sample")
        ),
    ),
    charges_cache_writes=True,
)


class Converse(Codec):
    """The ``Codec`` of Amazon Bedrock Converse.

    It imports each part on first use, because most gateways never speak this API.
    """

    wire = WIRE
    parts = tuple(f"providers.converse.{part}" for part in ("incoming", "outgoing", "adapting", "reader", "writer"))
    write_error = staticmethod(write_error)
    read_error = staticmethod(read_error)
    phrase_error = staticmethod(phrase_error)
    is_own_error = staticmethod(is_own_error)

    def read_request(self, body: Mapping[str, Any]) -> Request:
        from providers.converse.incoming import read_request

        return read_request(body)

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        from providers.converse.outgoing import write_request

        return write_request(request, to)

    def adapt(self, draft: Draft, to: Recipient) -> None:
        from providers.converse.adapting import adapt

        adapt(draft, to)

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        from providers.converse.adapting import restore

        return restore(body, issuer)

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        from providers.converse.adapting import without_reasoning

        return without_reasoning(body)

    def reader(self, content_limit: int = ANSWER) -> Reader:
        from providers.converse.reader import ConverseReader

        return ConverseReader(content_limit)

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        from providers.converse.reader import read_answer

        return read_answer(body, texts, checked)

    def writer(self, reply: Reply) -> Writer:
        from providers.converse.writer import ConverseWriter

        return ConverseWriter(reply)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        from providers.converse.writer import write_answer

        return write_answer(answer, reply)

    def read_count(self, body: Mapping[str, Any]) -> Request:
        from providers.converse.incoming import read_count_request

        return read_count_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        from providers.converse.outgoing import write_count_request

        return write_count_request(request, to)

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"inputTokens": tokens})

    def last_event(self, error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return error_event(error)


CONVERSE = Converse()
