"""The bodies of requests that the live view shows if the operator enables it (``ui_prompts``)."""

from collections import deque
from typing import Final

MOST: Final = 8 * 2**20
"""Bytes of all bodies that a process stores."""
EACH: Final = 128 * 2**10
"""Bytes stored of one body; of a longer one its beginning and its end, which has the newest turn."""


class KeptPrompt:
    """The stored part of one request's body. ``size`` is that of the whole body; a body that made room for others is
    empty."""

    def __init__(self, body: bytes) -> None:
        half = EACH // 2
        self.size = len(body)
        self.body = body if len(body) <= EACH else body[:half] + b"\n\xe2\x80\xa6\n" + body[-half:]


class KeptPrompts:
    """The stored bodies of a process. The oldest make room for the newest."""

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
