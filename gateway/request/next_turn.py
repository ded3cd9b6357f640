"""A request with another turn of the model and the results of its calls, as the client itself would send them: each
target, step and limit treats them as the client's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from gateway.request.parse import Incoming, read_incoming
from providers.apis import CODECS
from streams.events import Api


@attrs.frozen
class CallResult:
    """The result of the call ``id`` of the function ``name``, as the model reads it."""

    id: str
    name: str
    text: str
    is_error: bool = False


_Turn = tuple[Callable[[Any], list[Any]], Callable[[Sequence[CallResult]], list[Any]]]

_ROWS: Final[Mapping[Api, _Turn]] = {
    "chat": (
        lambda answer: [answer["choices"][0]["message"]],
        lambda results: [{"role": "tool", "tool_call_id": one.id, "content": one.text} for one in results],
    ),
    "messages": (
        lambda answer: [{"role": "assistant", "content": answer["content"]}],
        lambda results: [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": one.id, "content": one.text, "is_error": one.is_error}
            for one in results
        ]}],
    ),
    "responses": (
        lambda answer: answer["output"],
        lambda results: [{"type": "function_call_output", "call_id": one.id, "output": one.text} for one in results],
    ),
    "gemini": (
        lambda answer: [answer["candidates"][0]["content"]],
        lambda results: [{"role": "user", "parts": [
            {"functionResponse": {"id": one.id, "name": one.name, "response": {"result": one.text}}} for one in results
        ]}],
    ),
    "converse": (
        lambda answer: [answer["output"]["message"]],
        lambda results: [{"role": "user", "content": [
            {"toolResult": {"toolUseId": one.id, "content": [{"text": one.text}],
                            "status": "error" if one.is_error else "success"}}
            for one in results
        ]}],
    ),
    "interactions": (
        lambda answer: answer["steps"],
        lambda results: [
            {"type": "function_result", "call_id": one.id, "name": one.name, "result": one.text} for one in results
        ],
    ),
}  # fmt: skip
"""By API, the items of a whole answer and of results in the conversation."""


def with_turn(incoming: Incoming, answer: bytes, results: Sequence[CallResult]) -> Incoming:
    """Return ``incoming`` after the model's turn ``answer``, a whole answer in the client's API, and ``results``."""
    own, written = _ROWS[incoming.api]
    member = CODECS[incoming.api].wire.conversation.member
    before: Any = msgspec.json.decode(incoming.members[member]) if member in incoming.members else []
    if isinstance(before, str):
        before = [{"type": "message", "role": "user", "content": before}] if incoming.api == "responses" else [before]
    elif not isinstance(before, list):
        before = [before]
    after = [*before, *own(msgspec.json.decode(answer)), *written(results)]
    body = msgspec.json.encode({**incoming.members, member: after})
    return attrs.evolve(incoming, body=body, members=read_incoming(incoming.api, body).members)
