"""The bodies of requests that the live view shows if the operator enables it (``ui_prompts``)."""

from collections import Counter, deque
from typing import Final

MOST: Final = 8 * 2**20
"""Bytes of all bodies that a process stores."""
EACH: Final = 128 * 2**10
"""Bytes stored of one body; of a longer one its beginning and its end, which has the newest turn."""


class KeptPrompt:
    """The stored part of one request's body. ``size`` is that of the whole body; a body that made room for others is
    empty."""

    def __init__(self, body: bytes, client: str | None = None) -> None:
        half = EACH // 2
        self.client = client
        self.size = len(body)
        self.body = body if len(body) <= EACH else body[:half] + b"\n\xe2\x80\xa6\n" + body[-half:]


class KeptPrompts:
    """The stored bodies of a process. The oldest of the client with the most bytes make room for the newest."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held = 0
        self._kept: deque[KeptPrompt] = deque()
        self._held_by: Counter[str | None] = Counter()

    def keep(self, body: bytes, client: str | None = None) -> KeptPrompt:
        prompt = KeptPrompt(body, client)
        self._kept.append(prompt)
        self._held += len(prompt.body)
        self._held_by[client] += len(prompt.body)
        while self._held > self._most:
            largest = self._held_by.most_common(1)[0][0]
            self._drop(next(one for one in self._kept if one.client == largest))
        return prompt

    def clear(self) -> None:
        """Drop every body."""
        while self._kept:
            self._drop(self._kept[0])

    def _drop(self, prompt: KeptPrompt) -> None:
        self._kept.remove(prompt)
        self._held -= len(prompt.body)
        self._held_by[prompt.client] -= len(prompt.body)
        if not self._held_by[prompt.client]:
            del self._held_by[prompt.client]
        prompt.body = b""
