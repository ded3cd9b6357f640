"""The bodies of requests that the live view shows if the operator enables it (``ui_prompts``)."""

from typing import Final

MOST: Final = 8 * 2**20
"""Bytes of all bodies that a process stores. Without room, the client with the most loses its oldest one."""
EACH: Final = 128 * 2**10
"""Bytes stored of one body; of a longer one its beginning and its end, which has the newest turn."""


class KeptPrompt:
    """The stored part of one request's body. ``size`` is that of the whole body; a body that made room for others is
    empty."""

    def __init__(self, body: bytes) -> None:
        half = EACH // 2
        self.size = len(body)
        self.body = body if len(body) <= EACH else body[:half] + b"\n\xe2\x80\xa6\n" + body[-half:]

    def clear(self) -> None:
        self.body = b""
