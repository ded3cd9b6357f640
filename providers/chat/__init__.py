"""The codec of OpenAI Chat Completions, for clients and providers.

Client requests: ``incoming`` with ``history``, ``foreign`` for Anthropic's tools, and ``adapting`` for other Chat
providers. Provider requests: ``outgoing`` with ``parts`` and ``settings``. Answers: ``reader`` with ``chunks``
(decoding) and ``reading`` (content by kind); ``writer`` with ``tools``. Answers that pass: ``repair``.
"""

from collections.abc import Mapping

import msgspec

from providers.errors.failures import is_openai_error, openai_error, read_failure
from providers.neutral.codec import Codec
from providers.neutral.late_codec import LateCodec, late
from providers.neutral.wire_api import Conversation, StreamWords, WireApi
from streams import sse
from streams.events import AnswerStart, ErrorInfo

WIRE = WireApi(
    "chat",
    "openai_chat",
    "/chat/completions",
    Conversation("messages"),
    other_form="responses",  # Cursor's agent mode (maximhq/bifrost#5773)
    words=StreamWords(bare_end=b"data: [DONE]\n\n", error_member=True),
    client_headers=("openai-beta",),
)


class Chat(LateCodec):
    """The ``Codec`` of Chat Completions. Its reasoning is plain text, which every provider accepts, except for the
    signatures of Gemini's calls."""

    wire = WIRE
    package = __name__
    own_parts = ("repair", "foreign")
    is_usage_alone = late("writer", "is_usage_alone")
    answer_repair = late("repair", "CallRepair")
    _foreign_in_own_form = late("foreign", "in_own_form")
    read_count = Codec.read_count
    write_count = Codec.write_count
    read_error = staticmethod(read_failure)
    is_own_error = staticmethod(is_openai_error)

    def in_own_form(self, members: Mapping[str, msgspec.Raw]) -> bytes | None:
        is_candidate = "tools" in members and b'"input_schema"' in bytes(members["tools"])
        return self._foreign_in_own_form(members) if is_candidate else None

    def write_error(self, error: ErrorInfo, request_id: str) -> bytes:
        """Return the error without the request id, which Chat only has as a header."""
        return msgspec.json.encode({"error": openai_error(error)})

    def last_event(self, error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return sse.data({"error": openai_error(error)})


CHAT = Chat()
