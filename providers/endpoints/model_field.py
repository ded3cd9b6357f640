"""Replacement of the ``model`` in a multipart body while it is forwarded."""

from collections.abc import Callable, Set
from enum import Enum, auto
from typing import Final

from providers.endpoints.multipart import (
    MultipartBoundary,
    MultipartData,
    MultipartEvent,
    MultipartHead,
    MultipartParser,
)
from providers.neutral.values import as_count
from streams.errors import GatewayError, invalid

FIELD_BYTES: Final = 1024
"""The most bytes of a field that is read; no model has a longer name."""

_PLAIN: Final = ("", "7bit", "8bit", "binary")


class ModelPhase(Enum):
    """The progress of the ``model`` field."""

    AWAITED = auto()
    READ = auto()
    """Its part is arriving."""
    FOUND = auto()
    """Its value is known, but not its replacement."""
    REPLACED = auto()


def ignore_bytes(piece: bytes) -> None:
    """Ignore a file's bytes."""


class MultipartEditor:
    """An editor that replaces only the value of ``model`` in a multipart body, while it is forwarded.

    ``feed`` returns the bytes to forward. Once ``model`` is known, later bytes wait until ``replace`` sets its
    replacement. ``fields`` are the short fields of ``wanted_fields`` so far, ``on_file`` receives the bytes of each
    file.
    """

    def __init__(
        self, boundary: bytes, wanted_fields: Set[str] = frozenset(), on_file: Callable[[bytes], object] = ignore_bytes
    ) -> None:
        self.model: str | None = None
        self.fields: dict[str, str] = {}
        self.difference = 0
        """The number of bytes by which the edited body is longer than the received one."""
        self.has_file = False
        """True if a file has begun."""
        self.waiting = 0
        """The number of buffered bytes after ``model``."""
        self._parser = MultipartParser(boundary)
        self._wanted_fields = wanted_fields
        self._on_file = on_file
        self._phase = ModelPhase.AWAITED
        self._held: list[bytes] = []
        self._part: MultipartHead | None = None
        self._value = b""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes to forward. Raises ``GatewayError`` (400) for an invalid body or ``model``."""
        return b"".join([self._forward_event(event) for event in self._parser.feed(data)])

    def replace(self, model: str) -> bytes:
        """Replace the name that was found by ``model``, and return the bytes to forward."""
        assert self.model is not None
        self._phase = ModelPhase.REPLACED
        name = model.encode()
        self.difference = len(name) - len(self.model.encode()) - self._parser.preamble
        held, self._held = self._held, []
        return b"".join([name, *held])

    def release_rest(self) -> bytes:
        """Return the bytes after ``model``, which ``replace`` then does not return; later bytes no longer wait."""
        self._phase = ModelPhase.REPLACED
        held, self._held = self._held, []
        return b"".join(held)

    def model_part(self, model: str) -> bytes:
        """Return a part with ``model``, to precede a body without one."""
        assert self._phase is ModelPhase.AWAITED
        part = b'%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n'
        written = part % (self._parser.mark, model.encode())
        self.difference = len(written) - self._parser.preamble
        return written

    def pass_without_model(self) -> None:
        """Leave a body without a model unchanged."""
        assert self._phase is ModelPhase.AWAITED
        self.difference = -self._parser.preamble

    def close(self) -> None:
        """End the body. Raises ``GatewayError`` (400) if it is incomplete."""
        self._parser.close()

    def _forward_event(self, event: MultipartEvent) -> bytes:
        match event:
            case MultipartHead():
                self._begin_part(event)
            case MultipartData(raw):
                self._read_data(raw)
                if self._phase is ModelPhase.READ:
                    return b""
            case MultipartBoundary():
                self._end_part()
        if self._phase is ModelPhase.FOUND:
            self._held.append(event.raw)
            self.waiting += len(event.raw)
            return b""
        return event.raw

    def _begin_part(self, part: MultipartHead) -> None:
        self._part, self._value = part, b""
        self.has_file = self.has_file or part.file_name is not None
        if part.name != "model":
            return
        if self._phase is not ModelPhase.AWAITED:
            raise _model_error("appears twice in the multipart body: send it once")
        if part.file_name is not None or part.encoding not in _PLAIN:
            raise _model_error("is a file in the multipart body, or encoded: send it as a plain field")
        self._phase = ModelPhase.READ

    def _read_data(self, raw: bytes) -> None:
        assert self._part is not None
        if self._part.file_name is not None:
            self._on_file(raw)
        elif self._phase is ModelPhase.READ:
            self._value += raw
            if len(self._value) > FIELD_BYTES:
                raise _model_error(f"has more than {FIELD_BYTES} bytes in the multipart body")
        elif self._part.name.lower() in self._wanted_fields and len(self._value) <= FIELD_BYTES:
            self._value += raw

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if self._phase is ModelPhase.READ:
            self._phase = ModelPhase.FOUND
            try:
                self.model = self._value.decode()
            except UnicodeDecodeError:
                raise _model_error("is not UTF-8 in the multipart body") from None
            if not self.model.isprintable():  # a replaced name could otherwise become a line, or even a boundary
                raise _model_error("has line ends or other control characters in the multipart body")
        elif part is not None and part.name.lower() in self._wanted_fields and 0 < len(self._value) <= FIELD_BYTES:
            name = part.name.lower()
            self.fields[name] = _larger_number(self.fields.get(name), self._value.decode("utf-8", "replace"))


def _larger_number(earlier: str | None, text: str) -> str:
    """Return the value of a field that may appear twice: the larger number, or the later text."""
    before, now = as_count(earlier), as_count(text)
    return earlier if earlier is not None and before is not None and now is not None and before > now else text


def _model_error(what: str) -> GatewayError:
    return invalid(f"model {what}", "model")
