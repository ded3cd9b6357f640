"""One stream's way through the gateway, pure: provider bytes in, client bytes out.

The byte lane (``passthrough``) forwards the provider's events untouched and reads along; the hub lane (``translation``)
reads them and writes the client's. Both hand out whole events only, so pings and error events always fall on an event
boundary.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from gateway.streaming.progress import StreamProgress
from streams.events import ErrorInfo
from streams.framing import Framing

MapError: TypeAlias = Callable[[ErrorInfo], ErrorInfo]
"""A failure as the client may hear of it: credentials removed, the status mapped."""


def too_large(limit: int) -> ErrorInfo:
    """The error for a whole answer larger than ``limit`` bytes."""
    message = f"the provider's answer is larger than limits.answer ({limit} bytes)"
    return ErrorInfo("upstream", message, reason=None)


class Lane(Protocol):
    """The way of one provider's stream into its client's, pure: bytes in, whole events out. The byte lane passes events
    unchanged and reads along, the hub lane reads and writes them. ``feed`` raises ``FramingError``."""

    seen: StreamProgress

    @property
    def source(self) -> Framing:
        """The framing of what the provider sends."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The upstream has sent ``data``: what goes to the client for it."""
        ...

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        """The upstream has ended the body, or ``failed``: what goes to the client last, an error event if the answer
        is not whole. An answer that is whole by its API's own word stays so, whatever became of the connection."""
        ...

    def rest(self) -> bytes:
        """The upstream has ended the body behind a whole answer: what is left of it."""
        ...

    def ping(self) -> bytes:
        """A keep-alive, or nothing where one would do harm."""
        ...
