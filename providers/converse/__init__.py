"""Amazon Bedrock Converse: the codec of ``Converse`` and ``ConverseStream``, both roles.

A client's request: ``incoming`` reads it, with ``content`` for its blocks; ``adapting`` edits it for a provider of the
same API. A provider's request: ``outgoing`` writes it, with ``history`` (messages), ``media``, ``cache_points`` and
``settings``; ``families`` lists what each family of models takes. Answers: ``reader`` with ``reading`` reads them,
``writer`` writes them. ``wording`` has the words of both roles, ``errors`` the errors of both.
"""

import msgspec

from providers.converse.adapting import adapt, restore, without_reasoning
from providers.converse.errors import error_event, error_headers, is_own_error, phrase_error, read_error, write_error
from providers.converse.incoming import read_count_request, read_request
from providers.converse.outgoing import write_count_request, write_request
from providers.converse.reader import ConverseReader, read_answer
from providers.converse.writer import PING, ConverseWriter, write_answer
from providers.neutral.codec import Codec
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams.event_stream import ERROR, EVENT_STREAM, EXCEPTION
from streams.events import AnswerStart, ErrorInfo

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


class Converse(Codec):
    """The ``Codec`` of Amazon Bedrock Converse."""

    wire = WIRE
    read_request = staticmethod(read_request)
    write_request = staticmethod(write_request)
    adapt = staticmethod(adapt)
    restore = staticmethod(restore)
    without_reasoning = staticmethod(without_reasoning)
    reader = ConverseReader
    read_answer = staticmethod(read_answer)
    writer = ConverseWriter
    write_answer = staticmethod(write_answer)
    write_error = staticmethod(write_error)
    read_error = staticmethod(read_error)
    read_count = staticmethod(read_count_request)
    write_count = staticmethod(write_count_request)
    phrase_error = staticmethod(phrase_error)
    is_own_error = staticmethod(is_own_error)

    def write_count_answer(self, tokens: int) -> bytes:
        return msgspec.json.encode({"inputTokens": tokens})

    def last_event(self, failed: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return error_event(failed)


CONVERSE = Converse()
