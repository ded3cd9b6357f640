"""The codec of Anthropic Messages (``/v1/messages``), for clients and providers.

Client requests: ``incoming`` with ``content``, and ``adapting`` for Messages servers other than Anthropic's. Provider
requests: ``outgoing`` with ``blocks`` and ``settings``. Streams: ``reader`` with ``reading``, and ``writer``. Whole
answers: ``answer``; token counts: ``usage``.
"""

import msgspec

from providers.errors.failures import is_messages_error, messages_error, read_failure
from providers.errors.overflow import with_anthropic_message
from providers.neutral.late_codec import LateCodec, late
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams import sse
from streams.events import AnswerStart, ErrorInfo

__all__ = ["MESSAGES", "Messages"]

WIRE = WireApi(
    "messages",
    "anthropic_messages",
    "/messages",
    Conversation("messages"),
    operations={"answer": OperationPath(), "count": OperationPath("/count_tokens")},
    words=StreamWords(
        ends=frozenset(("message_stop",)),
        bare_end=b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        error_names=frozenset(("error",)),
        keep_alives=frozenset(("ping",)),
        opening_keep_alives=1,
    ),
    ping=sse.event("ping", {"type": "ping"}),
    # Claude Code's own headers, its session id among them, are meant for Anthropic only.
    client_headers=("anthropic-*", "x-app", "x-claude-*", "x-anthropic-*"),
    query_members=frozenset(("beta",)),
    shows_spending=True,  # Claude Code
    version_header="anthropic-version",
    long_context_beta="context-1m-2025-08-07",
    id_headers=("x-request-id", "request-id"),
    requires_limit=True,
    charges_cache_writes=True,
    own_statuses=frozenset((529,)),
)
"""Claude Code sends ``long_context_beta`` instead of ``[1m]``; newer models need no beta for that window but accept it.
"""


class Messages(LateCodec):
    """The ``Codec`` of Anthropic Messages."""

    wire = WIRE
    package = __name__
    own_parts = ("answer",)
    read_answer = late("answer", "read_answer")
    write_answer = late("answer", "write_answer")
    read_error = staticmethod(read_failure)
    phrase_error = staticmethod(with_anthropic_message)
    is_own_error = staticmethod(is_messages_error)

    def write_error(self, error: ErrorInfo, request_id: str) -> bytes:
        return msgspec.json.encode({"type": "error", "error": messages_error(error), "request_id": request_id})

    def last_event(self, error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return sse.event("error", {"type": "error", "error": messages_error(error)})


MESSAGES = Messages()
