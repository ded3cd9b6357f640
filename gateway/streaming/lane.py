"""One stream's conversion from provider bytes to client bytes, without I/O.

The byte lane (``passthrough``) forwards the provider's events unchanged and reads them; the hub lane (``translation``)
reads them and writes the client's events. Both return whole events only, so pings and error events always fall on an
event boundary."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from gateway.streaming.progress import StreamProgress
from providers.neutral.codec import Codec
from streams.errors import GatewayError
from streams.events import ErrorInfo, Event
from streams.framing import Framing
from streams.structure import MAX_ELEMENTS, TOO_MANY_ELEMENTS, UNSCANNED_BYTES, has_more_elements

MapError: TypeAlias = Callable[[ErrorInfo], ErrorInfo]
"""Converts a failure for the client: removes credentials and maps the status."""


def too_large(limit: int) -> ErrorInfo:
    """Return the error for a complete response larger than ``limit`` bytes."""
    message = f"the provider's answer is larger than limits.answer ({limit} bytes)"
    return ErrorInfo("upstream", message, reason=None)


class Lane(Protocol):
    """The conversion of one provider's stream: bytes in, whole events out. ``feed`` raises ``FramingError``."""

    progress: StreamProgress

    @property
    def source(self) -> Framing:
        """The framing of the provider's bytes."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for ``data`` from the provider."""
        ...

    def end(self, error: ErrorInfo | None = None) -> bytes:
        """Return the last bytes for the client after the body ended, or failed with ``error``.

        An incomplete response ends with an error event. A response that its API marks as complete stays complete,
        however the connection ended."""
        ...

    def trailing_bytes(self) -> bytes:
        """Return the client's bytes after the last event, such as the rest of a line end."""
        ...

    def ping(self) -> bytes:
        """Return a keep-alive, or nothing where a keep-alive would cause an error."""
        ...


def read_whole(codec: Codec, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return ``Codec.read_answer`` of a body that has no more elements than an event may have. Raises the same
    errors."""
    if len(body) > UNSCANNED_BYTES and has_more_elements(body, MAX_ELEMENTS):
        raise GatewayError("upstream", f"the provider sent an answer {TOO_MANY_ELEMENTS}", reason=None)
    return codec.read_answer(body, texts, checked)
