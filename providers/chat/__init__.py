"""The codec of OpenAI Chat Completions, for clients and providers.

Client requests: ``incoming`` with ``history``, and ``adapting`` for other Chat providers. Provider requests:
``outgoing`` with ``parts`` and ``settings``. Answers: ``reader`` with ``chunks`` (decoding) and ``reading`` (content by
kind); ``writer`` with ``tools``. Answers that pass: ``repair``.
"""

import msgspec

from providers.chat.adapting import adapt, restore
from providers.chat.incoming import read_request
from providers.chat.outgoing import write_request
from providers.chat.reader import ChatReader, read_answer
from providers.chat.writer import ChatWriter, is_usage_alone, write_answer
from providers.errors.failures import is_openai_error, openai_error, read_failure
from providers.neutral.codec import AnswerRepair, Codec
from providers.neutral.wire_api import Conversation, StreamWords, WireApi
from streams import sse
from streams.events import AnswerStart, ErrorInfo

WIRE = WireApi(
    "chat",
    "openai_chat",
    "/chat/completions",
    Conversation("messages"),
    other_form="responses",  # Cursor's agent mode (maximhq/bifrost#5773)
    words=StreamWords(error_member=True),
    client_headers=("openai-beta",),
    output_limits=("max_completion_tokens", "max_tokens"),
    answer_counts=("n",),
)


class Chat(Codec):
    """The ``Codec`` of Chat Completions. Its reasoning is plain text, which every provider accepts."""

    wire = WIRE
    read_request = staticmethod(read_request)
    write_request = staticmethod(write_request)
    adapt = staticmethod(adapt)
    restore = staticmethod(restore)
    reader = ChatReader
    is_usage_alone = staticmethod(is_usage_alone)
    read_answer = staticmethod(read_answer)
    writer = ChatWriter
    write_answer = staticmethod(write_answer)
    read_error = staticmethod(read_failure)
    is_own_error = staticmethod(is_openai_error)

    parts = ("providers.chat.repair",)

    def answer_repair(self) -> AnswerRepair:
        from providers.chat.repair import CallRepair  # imported with the first answer that needs it

        return CallRepair()

    def write_error(self, error: ErrorInfo, request_id: str) -> bytes:
        """Return the error without the request id, which Chat only has as a header."""
        return msgspec.json.encode({"error": openai_error(error)})

    def last_event(self, error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        return sse.data({"error": openai_error(error)})


CHAT = Chat()
