"""Conversion of fill-in-the-middle between its two formats.

Mistral has a separate path, with answers like Chat's; legacy completions have ``suffix``
(https://docs.mistral.ai/api/endpoint/fim, https://api-docs.deepseek.com/guides/fim_completion). Requests, whole answers
and streams are converted. ``suffix`` is never dropped, because the returned code would be wrong without anyone
noticing.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from providers.neutral.draft import Draft, Edit
from providers.neutral.values import load
from streams import sse
from streams.errors import GatewayError, invalid

FimShape: TypeAlias = Literal["openai", "mistral"]

_SHARED: Final = ("prompt", "suffix", "max_tokens", "temperature", "top_p", "stop", "stream")
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
"""Members that may be omitted if they have this value."""

_REJECTED: Final = frozenset(("n", "best_of", "echo", "logprobs"))
"""Members that change the answer and that the other format lacks."""


def write_fim(draft: Draft, target: FimShape, model: str) -> tuple[bytes, tuple[Edit, ...]]:
    """Return a client's request as body and edits for a provider of the other format, ``target``.

    Raises ``GatewayError`` (400) if that format cannot express it.
    """
    if not isinstance(draft.value("prompt"), str):
        raise invalid("prompt must be one text: the model's provider does not support a list", "prompt")
    body: dict[str, Any] = {"model": model}
    edits: list[Edit] = []
    for name, value in draft.values().items():
        if name == "model" or value is None or (name in _DEFAULTS and value == _DEFAULTS[name]):
            continue
        if name in _REJECTED:
            raise invalid(f"{name} is not supported for fill-in-the-middle: remove it", name)
        other = _RENAMED[target].get(name, name)
        if name in _SHARED or other in _OWN[target]:
            body[other] = value
            if other != name:
                edits.append(Edit(name, lost=False, form=f"->{other}"))
        elif name != "stream_options":
            edits.append(Edit(name, why="translation"))
    if target == "openai" and body.get("stream") is True:
        body["stream_options"] = {"include_usage": True}  # Mistral's clients always receive the counts
    return msgspec.json.encode(body), tuple(edits)


def translate_whole(body: bytes, client: FimShape) -> bytes:
    """Return a provider's whole answer of the other format for a client of the format ``client``.

    Raises ``GatewayError`` (502) for any other answer.
    """
    answer = _decode_object(body)
    if answer is None or not isinstance(answer.get("choices"), list):
        raise GatewayError("upstream", "the provider's answer has no choices", reason="bad_answer")
    choices = [_WHOLE[client](choice) for choice in answer["choices"] if isinstance(choice, dict)]
    return msgspec.json.encode({**answer, "object": _OBJECT[client], "choices": choices})


_OBJECT: Final[Mapping[FimShape, str]] = {"openai": "text_completion", "mistral": "chat.completion"}


def translate_event(data: bytes, client: FimShape, *, usage: bool) -> bytes:
    """Return one event of the other format for a client of the format ``client``, or nothing if it is irrelevant.

    ``usage`` is whether the client receives token counts, in a separate event if its format has one.
    """
    if data.startswith(sse.DONE):
        return b"data: [DONE]\n\n"
    chunk = _decode_object(data)
    if chunk is None or not isinstance(chunk.get("choices"), list):
        return b""
    counts = chunk.pop("usage", None)
    choices = [_STREAMED[client](choice) for choice in chunk["choices"] if isinstance(choice, dict)]
    chunk_head: dict[str, Any] = {**chunk, "object": _OBJECT[client] + (".chunk" if client == "mistral" else "")}
    if client == "mistral":
        return sse.data({**chunk_head, "choices": choices, **({"usage": counts} if isinstance(counts, dict) else {})})
    out = sse.data({**chunk_head, "choices": choices}) if choices else b""
    if usage and isinstance(counts, dict):
        out += sse.data({**chunk_head, "choices": [], "usage": counts})
    return out


def _text_choice(choice: Mapping[str, Any], member: str) -> dict[str, Any]:
    message = choice.get(member)
    content = message.get("content") if isinstance(message, dict) else None
    finish = choice.get("finish_reason")
    return {
        "index": choice.get("index", 0), "text": _content_text(content), "logprobs": None,
        "finish_reason": "length" if finish == "model_length" else finish,
    }  # fmt: skip


def _content_text(content: Any) -> str:
    """Return ``content`` as a text; Mistral's may be a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _message_choice(choice: Mapping[str, Any], member: str) -> dict[str, Any]:
    text = choice.get("text")
    message = {"role": "assistant", "content": text if isinstance(text, str) else ""}
    return {"index": choice.get("index", 0), member: message, "finish_reason": choice.get("finish_reason")}


_WHOLE: Final = {
    "openai": lambda choice: _text_choice(choice, "message"),
    "mistral": lambda choice: _message_choice(choice, "message"),
}
_STREAMED: Final = {
    "openai": lambda choice: _text_choice(choice, "delta"),
    "mistral": lambda choice: _message_choice(choice, "delta"),
}


def _decode_object(data: bytes) -> dict[str, Any] | None:
    value = load(data)
    return value if isinstance(value, dict) else None
