"""A conversation with another turn of the model and the results of its calls, as a client sends them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

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


def with_turn(api: Api, before: Any, answer: Mapping[str, Any], results: Sequence[CallResult]) -> list[Any]:
    """Return the conversation ``before`` of a request after the model's turn ``answer``, a whole answer, and
    ``results``, all in ``api``."""
    own, written = _ROWS[api]
    if not isinstance(before, list):
        before = [] if before is None else [_MESSAGE[api](before)]
    return [*before, *own(answer), *written(results)]


_MESSAGE: Final[Mapping[Api, Callable[[Any], Any]]] = {
    "responses": lambda text: {"type": "message", "role": "user", "content": text},
    "interactions": lambda text: text,
}
"""By API whose conversation may be a text, the item with that text."""
