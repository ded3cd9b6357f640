"""Amazon Bedrock Converse: the codec of ``Converse`` and ``ConverseStream``, both roles.

A client's request: ``incoming`` reads it, with ``content`` for its blocks; ``adapting`` edits it for a provider of the
same API. A provider's request: ``outgoing`` writes it, with ``history`` (messages), ``media``, ``cache_points`` and
``settings``; ``families`` lists what each family of models takes. Answers: ``reader`` with ``reading`` reads them,
``writer`` writes them. ``wording`` has the words of both roles, ``errors`` the errors of both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.converse.adapting import adapt, restore, without_reasoning
from providers.converse.errors import error_headers, is_own_error, last_event, phrase_error, read_error, write_error
from providers.converse.incoming import read_count_request, read_request
from providers.converse.outgoing import write_count_request, write_request
from providers.converse.reader import ConverseReader, read_answer
from providers.converse.writer import PING, ConverseWriter, write_answer
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Outgoing, Reader, Recipient, Reply, Writer
from providers.neutral.draft import Draft
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams.event_stream import ERROR, EVENT_STREAM, EXCEPTION
from streams.events import AnswerStart, ErrorInfo, Event
from streams.fold import Answer

__all__ = ["CONVERSE", "Converse"]

WIRE = WireApi(
    "converse",
    "bedrock_converse",
    "/model/{model}",
    Conversation("messages", optional=True),  # that of a stored prompt, or a count of tokens, has another place
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
    charges_cache_writes=True,
)


class Converse:
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
        return without_reasoning(body)

    def reader(self, keeps: int = ANSWER) -> Reader:
        return ConverseReader(keeps)

    def is_usage_alone(self, data: bytes) -> bool:
        return False  # counts come unasked

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        return read_answer(body, checked)

    def writer(self, reply: Reply) -> Writer:
        return ConverseWriter(reply)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        return write_answer(answer, reply)

    def write_error(self, failed: ErrorInfo, request_id: str) -> bytes:
        return write_error(failed)

    def read_error(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
        return read_error(status, body, headers)

    def read_count(self, body: Mapping[str, Any]) -> Request:
        return read_count_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        return write_count_request(request, to)

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"inputTokens": tokens})

    def last_event(self, failed: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return last_event(failed)

    def phrase_error(self, failed: ErrorInfo) -> ErrorInfo:
        return phrase_error(failed)

    def is_own_error(self, body: Mapping[str, Any]) -> bool:
        return is_own_error(body)


CONVERSE = Converse()
