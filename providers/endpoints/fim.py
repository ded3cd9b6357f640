"""Fill-in-the-middle in its two shapes: Mistral's path of its own, whose answers are those of Chat, and ``suffix`` in a
legacy completion (https://docs.mistral.ai/api/endpoint/fim, https://api-docs.deepseek.com/guides/fim_completion).

Each is written for providers of the other, and their answers back, whole and streamed. A ``suffix`` is never dropped:
without it the code that comes back is wrong, and nobody sees why.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from providers.neutral.draft import Draft
from providers.neutral.edits import Edit
from providers.neutral.values import load
from streams import sse
from streams.errors import GatewayError, invalid

FimShape: TypeAlias = Literal["openai", "mistral"]

_SAME: Final = ("prompt", "suffix", "max_tokens", "temperature", "top_p", "stop", "stream")
_RENAMED: Final[Mapping[FimShape, Mapping[str, str]]] = {
    "mistral": {"seed": "random_seed"},
    "openai": {"random_seed": "seed"},
}
_OWN: Final[Mapping[FimShape, frozenset[str]]] = {
    "mistral": frozenset(("random_seed", "metadata", "min_tokens")),
    "openai": frozenset(("seed",)),
}
_DEFAULTS: Final[Mapping[str, Any]] = {
    "n": 1, "best_of": 1, "echo": False, "logprobs": None, "frequency_penalty": 0, "presence_penalty": 0,
    "logit_bias": {}, "user": None, "stream_options": None, "metadata": None, "min_tokens": None,
}  # fmt: skip
"""Members whose default says nothing."""

_NEVER: Final = frozenset(("n", "best_of", "echo", "logprobs"))
"""Members that make another answer, which the other shape has no place for."""


def write_fim(draft: Draft, target: FimShape, model: str) -> tuple[bytes, tuple[Edit, ...]]:
    """Write a client's request of the other shape for a provider of the shape ``target``: its body, and what is not as
    the client said it. Raises ``GatewayError`` (400) for what cannot be told it."""
    if not isinstance(draft.value("prompt"), str):
        raise invalid("prompt must be one text: the model's provider fills in the middle of no list", "prompt")
    body: dict[str, Any] = {"model": model}
    edits: list[Edit] = []
    for name, value in draft.values().items():
        if name == "model" or value is None or (name in _DEFAULTS and value == _DEFAULTS[name]):
            continue
        if name in _NEVER:
            raise invalid(f"{name} is not known where the model fills in the middle: leave it out", name)
        other = _RENAMED[target].get(name, name)
        if name in _SAME or other in _OWN[target]:
            body[other] = value
            if other != name:
                edits.append(Edit(name, lost=False, form=f"->{other}"))
        elif name != "stream_options":
            edits.append(Edit(name, why="translation"))
    if target == "openai" and body.get("stream") is True:
        body["stream_options"] = {"include_usage": True}  # Mistral's clients get the counts unasked
    return msgspec.json.encode(body), tuple(edits)


def translate_whole(body: bytes, client: FimShape) -> bytes:
    """Write a provider's whole answer of the other shape for a client of the shape ``client``. Raises ``GatewayError``
    (502) for what is no such answer."""
    answer = _decoded(body)
    if answer is None or not isinstance(answer.get("choices"), list):
        raise GatewayError("upstream", "the provider's answer has no choices", reason="bad_answer")
    choices = [_WHOLE[client](choice) for choice in answer["choices"] if isinstance(choice, dict)]
    return msgspec.json.encode({**answer, "object": _OBJECT[client], "choices": choices})


_OBJECT: Final[Mapping[FimShape, str]] = {"openai": "text_completion", "mistral": "chat.completion"}


def translate_event(data: bytes, client: FimShape, *, usage: bool) -> bytes:
    """Write the data of one event of the other shape for a client of the shape ``client``; nothing of what says nothing
    to it. ``usage``: the client is told of token counts, in an event of their own where its shape has that."""
    if data.startswith(sse.DONE):
        return b"data: [DONE]\n\n"
    chunk = _decoded(data)
    if chunk is None or not isinstance(chunk.get("choices"), list):
        return b""
    counts = chunk.pop("usage", None)
    choices = [_STREAMED[client](choice) for choice in chunk["choices"] if isinstance(choice, dict)]
    told: dict[str, Any] = {**chunk, "object": _OBJECT[client] + (".chunk" if client == "mistral" else "")}
    if client == "mistral":
        return sse.data({**told, "choices": choices, **({"usage": counts} if isinstance(counts, dict) else {})})
    out = sse.data({**told, "choices": choices}) if choices else b""
    if usage and isinstance(counts, dict):
        out += sse.data({**told, "choices": [], "usage": counts})
    return out


def _to_text(choice: Mapping[str, Any], said: str) -> dict[str, Any]:
    message = choice.get(said)
    content = message.get("content") if isinstance(message, dict) else None
    finish = choice.get("finish_reason")
    return {
        "index": choice.get("index", 0), "text": _text(content), "logprobs": None,
        "finish_reason": "length" if finish == "model_length" else finish,
    }  # fmt: skip


def _text(content: Any) -> str:
    """Return ``content`` as a text: Mistral's may be a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _to_message(choice: Mapping[str, Any], said: str) -> dict[str, Any]:
    text = choice.get("text")
    message = {"role": "assistant", "content": text if isinstance(text, str) else ""}
    return {"index": choice.get("index", 0), said: message, "finish_reason": choice.get("finish_reason")}


_WHOLE: Final = {
    "openai": lambda choice: _to_text(choice, "message"),
    "mistral": lambda choice: _to_message(choice, "message"),
}
_STREAMED: Final = {
    "openai": lambda choice: _to_text(choice, "delta"),
    "mistral": lambda choice: _to_message(choice, "delta"),
}


def _decoded(data: bytes) -> dict[str, Any] | None:
    value = load(data)
    return value if isinstance(value, dict) else None
