"""Streams of each API that have their last word, and whose provider then breaks off or stays silent."""

from collections.abc import Mapping
from typing import Final

from tests.support.lanes import events_of
from tests.support.upstreams import STREAM, Raw, Script
from tests.support.wire_clients import ALL

UNSENT: Final[Mapping[str, int]] = {"chat": 1, "messages": 1, "converse": 1, "gemini": 0}
"""The number of last events without which an answer of an API is complete: ``[DONE]``, ``message_stop``, ``metadata``.
The answers of other APIs end with their last word."""

SILENCES: Final = ("hang", "cut", "reset")
"""The ends of a connection whose body does not end."""

SOON: Final = 9
"""Seconds that an answer may take. A silent provider closes its connection after 20."""

WITHOUT_END: Final = [(api, True) for api in ALL] + [(api, False) for api in UNSENT if api != "gemini"]
"""Each API, with the end of its stream and without it."""


def kind_of(api: str) -> tuple[tuple[str, str], ...]:
    return (("content-type", "application/vnd.amazon.eventstream"),) if api == "converse" else STREAM


def unfinished_stream(api: str, end: str, *, has_end: bool, text: str = "The answer is 42.") -> Raw:
    """Return an answer of ``api`` whose body does ``end`` after its last word, or after the end of its API."""
    pieces = events_of(api, Script(text=text))
    return Raw(200, kind_of(api), tuple(pieces if has_end else pieces[: len(pieces) - UNSENT[api]]), end)
