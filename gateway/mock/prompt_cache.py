"""The stand-in's prompt cache in the demo: it serves the start that a long prompt shares with an earlier one."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs
import msgspec

from gateway.mock.faults import Fault
from gateway.mock.server import NO_FAULT, ModelCaches
from streams.events import AnswerStart, Api, Event, Usage

_PARTS: Final = (
    "tools", "system", "system_instruction", "systemInstruction", "instructions", "messages", "input", "contents",
)  # fmt: skip
"""The members of all APIs with the prompt, in the order in which a provider reads it."""

_STEP: Final = 512  # bytes, 128 tokens as at OpenAI
_TOKEN: Final = 4  # bytes
_LEAST: Final = 1024  # tokens
_MOST: Final = 10_000  # remembered steps


class SharedPrefixes(ModelCaches):
    """The starts of the latest long prompts of each model, as digests."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def count(self, model: str, api: Api, body: Mapping[str, Any], headers: Mapping[str, str], endpoint: str) -> Fault:
        prompt = msgspec.json.encode([body[name] for name in _PARTS if name in body])
        if len(prompt) < _LEAST * _TOKEN:
            return NO_FAULT
        digest, starts = hashlib.sha256(f"{model} {api}".encode()), list[bytes]()
        for at in range(0, len(prompt) - _STEP, _STEP):
            digest.update(prompt[at : at + _STEP])
            starts.append(digest.digest())
        shared = next((at for at, start in enumerate(starts) if start not in self._known), len(starts))
        if len(self._known) > _MOST:
            self._known.clear()
        self._known.update(starts)
        read = shared * _STEP // _TOKEN
        tokens = len(prompt) // _TOKEN
        return Fault("a cached prompt", events=partial(_with_prompt, tokens, read if read >= _LEAST else 0))


def _with_prompt(tokens: int, read: int, events: Sequence[Event], _: int) -> list[Event]:
    """Return the events with a prompt of ``tokens``. The cache served ``read`` tokens."""
    found: list[Event] = []
    for event in events:
        found.append(attrs.evolve(event, input=tokens - read, cache_read=read) if isinstance(event, Usage) else event)
        if isinstance(event, AnswerStart):  # Messages reports the prompt first
            found.append(Usage(input=tokens - read, cache_read=read, output=1))
    return found
