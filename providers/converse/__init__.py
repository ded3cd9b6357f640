"""The codec of Amazon Bedrock Converse (``Converse`` and ``ConverseStream``), for clients and providers.

Client requests: ``incoming`` with ``content``, and ``adapting`` for Converse providers. Provider requests: ``outgoing``
with ``history`` (messages) and ``media``; ``families`` lists what each family of models accepts. Answers: ``reader``
with ``reading``, and ``writer``. ``wording`` and ``errors`` serve both roles.
"""

import attrs

from providers.converse.errors import error_event, error_headers, is_own_error, phrase_error, read_error, write_error
from providers.neutral.late_codec import LateCodec
from providers.neutral.tool_names import USUAL
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams.event_stream import ERROR, EVENT_STREAM, EXCEPTION
from streams.events import AnswerStart, ErrorInfo

__all__ = ["CONVERSE", "Converse"]

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
    tool_naming=attrs.evolve(USUAL, is_enforced=True),  # aws/aws-sdk-js-v3#7287
    tools_within="toolConfig",
    client_tools=frozenset(("toolSpec", "cachePoint")),
    fetches_links=False,
    words=StreamWords(
        ends=frozenset(("metadata",)),
        error_names=frozenset((EXCEPTION, ERROR)),
        keep_alives=frozenset(("ping",)),
    ),
    error_headers=error_headers,
    id_headers=("x-request-id", "x-amzn-requestid"),
    charges_cache_writes=True,
    count_member="inputTokens",
)


class Converse(LateCodec):
    """The ``Codec`` of Amazon Bedrock Converse."""

    wire = WIRE
    package = __name__
    write_error = staticmethod(write_error)
    read_error = staticmethod(read_error)
    phrase_error = staticmethod(phrase_error)
    is_own_error = staticmethod(is_own_error)

    def last_event(self, error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return error_event(error)


CONVERSE = Converse()
