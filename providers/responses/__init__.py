"""OpenAI Responses (`/v1/responses`), both roles.

Source: OpenAI's API reference and the types of the openai package. The parts: ``incoming`` (a client's
request), ``outgoing`` (a provider's request), ``reader``, ``writer``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.call import Call
from providers.codec import Outgoing, Reader, Recipient, Reply, Writer
from providers.failures import openai_error
from providers.responses.incoming import read_request
from providers.responses.outgoing import returned, write_request
from providers.responses.reader import ResponsesReader, read_answer
from providers.responses.writer import ResponsesWriter, write_answer
from providers.seal import PREFIX, Issuer, unseal
from streams.events import Api, Event, Failed
from streams.fold import Answer


class Responses:
    """The ``Codec`` of OpenAI Responses."""

    @property
    def api(self) -> Api:
        return "responses"

    def read_request(self, body: Mapping[str, Any]) -> Call:
        return read_request(body)

    def write_request(self, call: Call, to: Recipient) -> Outgoing:
        return write_request(call, to)

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """See ``Codec.restore``. A sealed reasoning item goes as a whole: what is left of it says nothing."""
        items = body.get("input")
        if not isinstance(items, list) or not any(map(_sealed, items)):
            return {}, ()
        restored: list[Any] = []
        dropped = False
        for item in items:
            text = _sealed(item)
            if text is None:
                restored.append(item)
                continue
            seal = unseal(text)
            native = [] if seal is None else returned(seal, issuer)
            restored += native
            dropped = dropped or not native
        return {"input": restored}, ("input[]",) if dropped else ()

    def reader(self) -> Reader:
        return ResponsesReader()

    def read_answer(self, body: bytes) -> Sequence[Event]:
        return read_answer(body)

    def writer(self, reply: Reply) -> Writer:
        return ResponsesWriter(reply)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        return write_answer(answer, reply)

    def write_error(self, failed: Failed, request_id: str) -> bytes:
        return msgspec.json.encode({"error": openai_error(failed)})


def _sealed(item: Any) -> str | None:
    """The seal in a reasoning item, ``None`` where there is none."""
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return None
    text = item.get("encrypted_content")
    return text if isinstance(text, str) and text.startswith(PREFIX) else None


RESPONSES = Responses()
