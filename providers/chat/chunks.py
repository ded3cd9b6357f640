"""Decoding of Chat chunks and whole completions.

Members may have any type, because one unexpected value must not break a stream. In a whole answer that is translated it
is an error.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from providers.neutral.shapes import Shape, check_answer
from providers.neutral.values import as_object
from streams.surrogates import any_json, tolerate_lone_surrogates


class Delta(msgspec.Struct):
    """A delta or message, with members of any type: one unexpected value must not break the stream."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    annotations: Any = None
    audio: Any = None
    images: Any = None  # OpenRouter and others: images that the model made


class Choice(msgspec.Struct):
    index: Any = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: Any = None
    logprobs: Any = None
    stop_reason: Any = None  # vLLM: the stop string that matched
    matched_stop: Any = None  # the same of SGLang
    usage: Any = None  # Moonshot, in streams
    error: Any = None  # OpenRouter


class Chunk(msgspec.Struct):
    id: Any = None
    model: Any = None
    created: Any = None
    object: Any = None
    choices: list[Choice] | None = None
    usage: Any = None
    service_tier: Any = None
    moderation: Any = None
    search_results: Any = None  # Perplexity: the same pages in each chunk
    base_resp: Any = None  # MiniMax: a status, also next to choices
    error: Any = None
    errors: Any = None
    message: Any = None  # with the next two: members of an error without an envelope
    detail: Any = None
    type: Any = None

    @property
    def counts(self) -> Mapping[str, Any] | None:
        """The token counts, if any. In streams, Moonshot has them in the choice (earendil-works/pi#2017)."""
        if type(self.usage) is dict and self.usage:
            return self.usage
        found = [choice.usage for choice in self.choices or ()]
        return next((one for one in found if isinstance(one, dict) and one), None)

    @property
    def is_failure(self) -> bool:
        """True for an error, in any of the shapes that servers send."""
        if self.error or as_object(self.base_resp).get("status_code"):
            return True
        if self.choices is not None:
            return False
        bare = isinstance(self.message, str) or bool(self.detail or self.errors)
        return bare or self.object == "error" or self.type == "error"


_NONE: TypeAlias = Literal[""] | Annotated[list[Any], msgspec.Meta(max_length=0)] | None
"""The values of a member without information."""


class _TextDelta(msgspec.Struct, gc=False):
    content: Annotated[str, msgspec.Meta(min_length=1)]
    reasoning_content: _NONE = None
    reasoning: _NONE = None
    reasoning_details: _NONE = None
    refusal: _NONE = None
    tool_calls: _NONE = None
    function_call: _NONE = None
    annotations: _NONE = None
    audio: _NONE = None
    images: _NONE = None


class _TextChoice(msgspec.Struct, gc=False, kw_only=True):
    index: Literal[0] | None = 0
    delta: _TextDelta
    logprobs: _NONE = None
    finish_reason: _NONE = None
    usage: _NONE = None
    error: _NONE = None


class _TextChunk(msgspec.Struct, gc=False):
    """A chunk with a piece of text and nothing else that a reader uses in the middle of an answer.

    Members that a reader does not use then are skipped, not decoded."""

    choices: tuple[_TextChoice]
    usage: _NONE = None
    moderation: None = None
    base_resp: _NONE = None
    error: _NONE = None


class _TextlessDelta(Delta):
    content: msgspec.Raw = msgspec.Raw()


class _TextlessChoice(Choice):
    delta: _TextlessDelta | None = None
    message: _TextlessDelta | None = None


class _TextlessChunk(Chunk):
    """A chunk whose text stays undecoded: in a long answer, decoding it takes longer than everything else."""

    choices: list[_TextlessChoice] | None = None  # type: ignore[assignment]  # it is only read


_MESSAGE: Shape = {
    "content": (str, [{"type": str, "text": str}]),
    "refusal": str,
    "tool_calls": [{"function": {"name": str}, "custom": {"name": str, "input": str}}],
    "function_call": {"name": str},
}
_ANSWER: Shape = {"choices": [{"message": _MESSAGE, "delta": _MESSAGE}]}

_decode_chunk = tolerate_lone_surrogates(msgspec.json.Decoder(Chunk).decode)
_decode_text_chunk = msgspec.json.Decoder(_TextChunk).decode
_decode_textless_chunk = tolerate_lone_surrogates(msgspec.json.Decoder(_TextlessChunk).decode)


def decode(data: bytes, checked: bool = False) -> Chunk:
    """Return a chunk, or a whole answer.

    Raises one of ``NOT_JSON`` for other data, and with ``checked`` a 502 for a member of the wrong type.
    """
    try:
        chunk: Chunk = _decode_chunk(data)
    except msgspec.ValidationError:
        value = any_json(data)
        chunk = msgspec.convert(_prune(value), Chunk)
        if checked and not chunk.is_failure:
            check_answer(value, _ANSWER)
    if checked and not chunk.is_failure:
        _check_untyped(chunk)
    return chunk


def decode_text(data: bytes) -> str:
    """Return the text of a chunk that has only a piece of text for ``Chunk``'s readers, as nearly all have.

    Raises one of ``NOT_JSON`` for any other, which may be a valid chunk."""
    if not data.isascii():
        data.decode()  # checks the UTF-8 of skipped members
    return _decode_text_chunk(data).choices[0].delta.content


def _check_untyped(chunk: Chunk) -> None:
    """Check the members that ``Chunk`` leaves untyped, as ``check_answer`` does."""
    for i, choice in enumerate(chunk.choices or ()):
        for name, message in (("message", choice.message), ("delta", choice.delta)):
            if message is not None and not _has_text_alone(message):
                check_answer(msgspec.structs.asdict(message), _MESSAGE, f"choices[{i}].{name}")


def _has_text_alone(message: Delta) -> bool:
    """Return whether a message has only text, as most have: it needs no other check."""
    return type(message.content) is str and message.refusal is message.tool_calls is message.function_call is None


def decode_textless(body: bytes) -> Chunk:
    """Return a whole answer like ``decode``, but with ``""`` as its text."""
    if not body.isascii():
        body.decode()  # checks the UTF-8 of the undecoded text
    try:
        chunk: Chunk = _decode_textless_chunk(body)
    except msgspec.ValidationError:
        return decode(body)
    for choice in chunk.choices or ():
        for message in filter(None, (choice.message, choice.delta)):
            text = bytes(memoryview(message.content)[:1])
            message.content = "" if text == b'"' else any_json(message.content) if text else None
    return chunk


def _prune(value: Any) -> Any:
    """Return ``value`` without choices, deltas and messages that are not objects."""
    if not isinstance(value, dict):
        return value
    choices = value.get("choices")
    kept = [dict(choice) for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else None
    for choice in kept or ():
        for name in ("delta", "message"):
            if not isinstance(choice.get(name), dict):
                choice.pop(name, None)
    return {**value, "choices": kept}
