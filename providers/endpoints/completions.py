"""Reader of legacy completions: the number of choices, the end of an answer and its usage.

The bytes are forwarded unchanged (https://platform.openai.com/docs/api-reference/completions). Choices of a stream
interleave, each with an ``index`` and a ``finish_reason``.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from providers.errors.failures import EARLY, NO_OBJECT, NOT_OBJECT, array_failure, read_event_failure
from providers.neutral.codec import complete_usage
from providers.neutral.draft import Draft
from providers.neutral.token_usage import OLDER, read_tokens
from providers.neutral.values import as_count, load
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from streams.surrogates import NOT_JSON, tolerate_lone_surrogates

MAX_CHOICES: Final = 2**12
"""The most choices whose ends are tracked; a request may ask for more, whose ends are ignored."""


# Requests


def count_prompts(prompt: Any) -> int:
    """Return the number of prompts in ``prompt``: a text or token ids are one; a list of texts or id lists
    has several."""
    if not isinstance(prompt, list) or not prompt or type(prompt[0]) is int:
        return 1
    return len(prompt)


def count_token_ids(prompt: Any) -> int:
    if not isinstance(prompt, list):
        return 0
    return sum(len(one) if isinstance(one, list) else type(one) is int for one in prompt)


def expected_choices(draft: Draft) -> int:
    """Return the number of choices in a whole answer: ``n`` for each prompt."""
    return count_prompts(draft.value("prompt")) * (as_count(draft.value("n")) or 1)


# Answers


class _Choice(msgspec.Struct):
    index: Any = 0
    text: Any = None
    delta: Any = None  # Mistral's are like Chat's
    message: Any = None
    finish_reason: Any = None
    error: Any = None

    @property
    def text_length(self) -> int:
        """The number of characters of its text."""
        message = self.delta or self.message
        text = message.get("content") if isinstance(message, dict) else self.text
        return len(text) if isinstance(text, str) else 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    message: Any = None
    object: Any = None


_chunk: Final = tolerate_lone_surrogates(msgspec.json.Decoder(_Chunk).decode)


class CompletionReader:
    """A reader of a completion with ``expected`` choices, which is forwarded.

    Raises only ``GatewayError``, for a failed or incomplete answer. Without reported usage it estimates it;
    ``prompt_tokens`` is an estimate of the prompt's tokens. A stream is complete when each choice has its
    ``finish_reason``, or at ``[DONE]`` if no choice is partial: some providers ignore ``n``, and some send no reason.
    """

    def __init__(self, expected: int, prompt_tokens: int = 0) -> None:
        self._reported: Usage | None = None
        self._prompt_tokens = prompt_tokens
        self._text_length = 0
        self._is_done = False
        self._expected = min(expected, MAX_CHOICES)
        self._started: set[int] = set()
        self._finished: set[int] = set()

    @property
    def usage(self) -> Usage | None:
        """The usage so far."""
        if not self._text_length:
            return self._reported
        return complete_usage(self._reported, self._prompt_tokens, self._text_length)

    @property
    def has_ended(self) -> bool:
        """True if ``[DONE]`` has been read."""
        return self._is_done

    def read_event(self, name: str, data: bytes) -> None:
        """Read one event of a stream: its name ("" for none) and its data."""
        if data.startswith(b"[DONE]"):
            if not self._started or (self._finished and self._started - self._finished):
                raise GatewayError.of(EARLY)
            self._is_done = True
            return
        try:
            chunk = _chunk(data)
        except NOT_JSON:
            raise GatewayError.of(_unexpected_event(name, data)) from None
        if name == "error" or chunk.error or (chunk.choices is None and isinstance(chunk.message, str)):
            raise GatewayError.of(read_event_failure(load(data)))
        self._read_chunk(chunk)

    def read_whole(self, value: object) -> None:
        """Read a whole answer, decoded."""
        if not isinstance(value, dict):
            raise GatewayError.of(NOT_OBJECT)
        if value.get("error") and "choices" not in value:
            raise GatewayError.of(read_event_failure(value))
        if isinstance(usage := value.get("usage"), dict):
            self._reported = read_tokens(usage, OLDER)
        if isinstance(choices := value.get("choices"), list):
            self._text_length = sum(_text_length(choice) for choice in choices)

    def close(self, *, streamed: bool) -> None:
        """End the answer. Raises ``GatewayError`` if a stream is incomplete."""
        if streamed and not self._is_done and len(self._finished) < self._expected:
            raise GatewayError.of(EARLY)

    def _read_chunk(self, chunk: _Chunk) -> None:
        if isinstance(chunk.usage, dict):
            self._reported = read_tokens(chunk.usage, OLDER) or self._reported
        for choice in chunk.choices or ():
            self._text_length += choice.text_length
            if choice.error:
                raise GatewayError.of(read_event_failure({"error": choice.error}))
            index = choice.index if type(choice.index) is int else 0
            if len(self._started) < MAX_CHOICES:
                self._started.add(index)
            if choice.finish_reason and index in self._started:
                self._finished.add(index)


def _text_length(choice: Any) -> int:
    known = {name: choice.get(name) for name in ("text", "message")} if isinstance(choice, dict) else {}
    return _Choice(**known).text_length


def _unexpected_event(name: str, data: bytes) -> ErrorInfo:
    """Return the failure that an event other than a chunk means."""
    error, value = array_failure(data), load(data)
    if error is None and (name == "error" or isinstance(value, dict)):
        return read_event_failure(value)
    return error or NO_OBJECT


def prompt_texts(prompt: Any) -> Sequence[str]:
    """Return the texts in ``prompt``, for estimates of its tokens; ``count_token_ids`` counts ids."""
    if isinstance(prompt, str):
        return (prompt,)
    return [one for one in prompt if isinstance(one, str)] if isinstance(prompt, list) else ()
