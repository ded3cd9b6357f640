"""The bodies of requests that the live view shows where the operator has chosen so (``ui_prompts``)."""

from collections import deque
from typing import Final

MOST: Final = 8 * 2**20
"""Bytes of all bodies that a process keeps."""
EACH: Final = 128 * 2**10
"""Bytes that are kept of one body; of a longer one its beginning and its end, where the newest turn is."""


class KeptPrompt:
    """The body of one request, as far as it is kept. ``size`` is that of the whole; a body that made room for later
    ones is empty."""

    def __init__(self, body: bytes) -> None:
        half = EACH // 2
        self.size = len(body)
        self.body = body if len(body) <= EACH else body[:half] + b"\n\xe2\x80\xa6\n" + body[-half:]


class KeptPrompts:
    """The bodies that a process keeps: the oldest make room for the newest."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held = 0
        self._kept: deque[KeptPrompt] = deque()

    def keep(self, body: bytes) -> KeptPrompt:
        prompt = KeptPrompt(body)
        self._kept.append(prompt)
        self._held += len(prompt.body)
        while self._held > self._most:
            self._drop_oldest()
        return prompt

    def clear(self) -> None:
        """Drop every body."""
        while self._kept:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._kept.popleft()
        self._held -= len(oldest.body)
        oldest.body = b""
