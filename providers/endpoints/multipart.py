"""Parser of multipart bodies into events, for reads split anywhere (RFC 2046 section 5.1, RFC 7578).

The events add up to the body, byte for byte, so unchanged parts are forwarded exactly: rebuilding forms lost repeated
fields and file names (BerriAI/litellm#41625, BerriAI/litellm#35937).

Bodies that two servers would read differently are rejected, because a second ``model`` that only the provider sees
would bypass the gateway's checks. Nothing may follow the last boundary, heads must end lines with CRLF, and no line may
start with the boundary in another form than the RFC's. The RFC allows a text before the first boundary; it may have no
field, because a server that does not skip it would read this field.
"""

import re
from collections.abc import Callable, Set
from enum import Enum, auto
from typing import Final, TypeAlias

import attrs

from streams.errors import GatewayError, invalid

HEAD_BYTES: Final = 16 * 1024
"""The most bytes of a part's head, which is buffered until complete."""
PREAMBLE_BYTES: Final = 16 * 1024
"""The most bytes before the first boundary."""
PARTS: Final = 1000
"""The most parts of a body, because each costs time."""
BOUNDARY_BYTES: Final = 200
"""The most bytes of a boundary; the RFC allows 70."""

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = re.compile(rf'[ \t]*;[ \t]*({_TOKEN})[ \t]*=[ \t]*(?:"([^"\\]*)"|([^\s;"\\]+))')
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]*[0-9A-Za-z'()+_,./:=?-]")
_BLANK: Final = re.compile(rb"[ \t\r\n]*")
_BARE_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\x00")
_HEAD_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)", re.DOTALL)

# The ways in which servers read the name in a content-disposition: with escapes, without them, anywhere in the text.
_READINGS: Final = (
    re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))', re.DOTALL),
    re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"([^"]*)"|([^;"]*))'),
    re.compile(rb'(?<![0-9A-Za-z_-])([Nn][Aa][Mm][Ee](?:\*[0-9]*\*?)?)\s*=\s*(?:"([^"]*)"|([^;"]*))'),
)

_CHECKED_MEMBERS: Final = frozenset((b"model", b"purpose"))

_AMBIGUOUS: Final = (
    "a line of the multipart body starts with its boundary, but lacks CRLF before it, or CRLF or -- after it (RFC "
    "2046): choose a boundary that no part contains"
)


_NO_START: Final = (
    "the multipart body must start with the boundary in its content-type, or with text and CRLF before it"
)
_FIELD_BEFORE_START: Final = (
    "the multipart body has a content-disposition before its first boundary: start each part with the boundary"
)


@attrs.frozen
class MultipartHead:
    """The start of a part. ``name`` is the field's name (or ""); a file has a ``file_name``."""

    raw: bytes
    name: str
    file_name: str | None = None
    encoding: str = ""  # content-transfer-encoding, in lower case


@attrs.frozen
class MultipartData:
    """A piece of a part's content."""

    raw: bytes


@attrs.frozen
class MultipartBoundary:
    """The end of a part, or the start of the body with its preamble, or the bytes after the last boundary."""

    raw: bytes


MultipartEvent: TypeAlias = MultipartHead | MultipartData | MultipartBoundary


def parse_boundary(content_type: str) -> bytes:
    """Return the boundary in a ``content-type``. Raises ``GatewayError`` (400) unless it has exactly one."""
    media_type, _, _ = content_type.partition(";")
    if media_type.strip().lower() != "multipart/form-data":
        raise invalid("the body must be multipart/form-data: set the content-type, or let the HTTP client set it")
    at, found = len(media_type), []
    while match := _PARAMETER.match(content_type, at):
        at = match.end()
        if match[1].lower().startswith("boundary"):
            found.append((match[1].lower(), match[2] or match[3] or ""))
    if content_type[at:].strip("; \t") or [name for name, _ in found] != ["boundary"]:
        raise invalid("the content-type multipart/form-data must state one boundary: let the HTTP client set it")
    if len(found[0][1]) > BOUNDARY_BYTES or not _BOUNDARY.fullmatch(found[0][1]):
        raise invalid("the boundary in the content-type is too long or has invalid characters (RFC 2046)")
    return found[0][1].encode("ascii")


class MultipartState(Enum):
    START = auto()
    HEAD = auto()
    DATA = auto()
    END = auto()


class MultipartParser:
    """A parser of a multipart body into events.

    It buffers at most a head, a preamble or a boundary; work is linear for any sizes of reads. ``preamble`` are the
    bytes before the first boundary.
    """

    def __init__(self, boundary: bytes) -> None:
        self.mark = b"--" + boundary
        # A line that starts with the boundary, followed by anything that some server reads as the line's end.
        self._line = re.compile(rb"(?<![^\r\n])" + re.escape(self.mark) + rb"(?=[ \t\r\n-]|\Z)")
        self._buffer = bytearray()
        self._returned = 0  # bytes of the buffer that were already returned: the preceding line end
        self.preamble = b""
        self._searched = 0  # bytes of the buffer without the end of a head or preamble
        self._parts = 0
        self._state = MultipartState.START

    def feed(self, data: bytes) -> list[MultipartEvent]:
        """Return the events that ``data`` completes. Raises ``GatewayError`` (400)."""
        self._buffer += data
        events: list[MultipartEvent] = []
        while (event := _STEPS[self._state](self)) is not None:
            events.append(event)
        return events

    def close(self) -> None:
        """End the body. Raises ``GatewayError`` (400) if it is incomplete."""
        if self._state is MultipartState.START and not self.mark.startswith(self._buffer):
            raise invalid(_NO_START)
        if self._state is not MultipartState.END:
            raise invalid("the multipart body ends before its last boundary")

    def _parse_start(self) -> MultipartEvent | None:
        at = self._buffer.find(self.mark, self._searched)
        if at > 0 and not self._buffer.startswith(b"\r\n", at - 2):
            raise invalid(_NO_START)
        if (at if at >= 0 else len(self._buffer) - len(self.mark)) > PREAMBLE_BYTES:
            raise invalid(f"{_NO_START}: more than {PREAMBLE_BYTES} bytes precede the boundary")
        if at < 0:
            self._searched = max(0, len(self._buffer) - len(self.mark))
            return None
        self._searched, self.preamble = at, bytes(self._buffer[:at])
        if b"content-disposition" in self.preamble.lower():
            raise invalid(_FIELD_BEFORE_START)
        return self._boundary_event(0, at + len(self.mark))

    def _parse_head(self) -> MultipartEvent | None:
        buffer = self._buffer
        blank = 0 if buffer.startswith(b"\r\n") else buffer.find(b"\r\n\r\n", self._searched) + 2
        if blank > HEAD_BYTES or (blank == 1 and len(buffer) > HEAD_BYTES):
            raise invalid(f"a part of the multipart body has headers of more than {HEAD_BYTES} bytes")
        if blank == 1:
            self._searched = max(0, len(buffer) - 3)
            return None
        raw = bytes(buffer[: blank + 2])
        del buffer[:blank]
        self._state, self._returned = MultipartState.DATA, 2
        return _read_head(raw)

    def _parse_data(self) -> MultipartEvent | None:
        buffer, mark = self._buffer, self.mark
        at = buffer.find(mark, self._returned)
        if at >= 0 and (line := self._line.search(buffer, at)):
            begin = line.start() - 2
            if begin < self._returned or not buffer.startswith(b"\r\n", begin):
                raise invalid(_AMBIGUOUS)
            return self._data_event(begin) or self._boundary_event(begin, line.end())
        return self._data_event(len(buffer) - len(mark) - 2)

    def _data_event(self, end: int) -> MultipartEvent | None:
        """Return the data up to ``end``, if any, and remove it from the buffer except for two bytes."""
        if end <= self._returned:
            return None
        raw = bytes(self._buffer[self._returned : end])
        del self._buffer[: end - 2]
        self._returned = 2
        return MultipartData(raw)

    def _boundary_event(self, begin: int, end: int) -> MultipartEvent | None:
        """Return the boundary at ``begin``, whose name ends at ``end``, with the bytes that mark the last one."""
        behind = bytes(self._buffer[end : end + 2])
        if len(behind) < 2 and behind in (b"", b"\r", b"-"):
            return None
        if behind not in (b"\r\n", b"--"):
            raise invalid(_AMBIGUOUS)
        raw = bytes(self._buffer[begin : end + 2])
        del self._buffer[: end + 2]
        self._returned = self._searched = 0
        self._state = MultipartState.HEAD if behind == b"\r\n" else MultipartState.END
        self._parts += 1
        if self._parts > PARTS and self._state is MultipartState.HEAD:
            raise invalid(f"the multipart body has more than {PARTS} parts")
        return MultipartBoundary(raw)

    def _parse_epilogue(self) -> MultipartEvent | None:
        if not self._buffer:
            return None
        if not _BLANK.fullmatch(self._buffer):
            raise invalid("the multipart body has data after its last boundary")
        raw = bytes(self._buffer)
        self._buffer.clear()
        return MultipartBoundary(raw)


_STEPS: Final = {
    MultipartState.START: MultipartParser._parse_start,
    MultipartState.HEAD: MultipartParser._parse_head,
    MultipartState.DATA: MultipartParser._parse_data,
    MultipartState.END: MultipartParser._parse_epilogue,
}


def _read_head(raw: bytes) -> MultipartHead:
    dispositions: list[bytes] = []
    encoding = ""
    for line in raw.removesuffix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n") if len(raw) > 2 else ():
        match = _HEAD_LINE.fullmatch(line)
        if match is None or _BARE_LINE_END.search(line):
            raise invalid("a part of the multipart body has a head whose lines are not NAME: VALUE, each on one line")
        if match[1].lower() == b"content-disposition":
            dispositions.append(match[2])
        elif match[1].lower() == b"content-transfer-encoding":
            encoding = match[2].decode("latin-1").strip().lower()
    if len(dispositions) > 1:
        raise invalid("a part of the multipart body has more than one content-disposition")
    disposition = dispositions[0] if dispositions else b""
    parameters = {match[1].lower(): match[2] or match[3] or b"" for match in _READINGS[0].finditer(disposition)}
    file_name = parameters.get(b"filename", parameters.get(b"filename*"))
    return MultipartHead(
        raw, _field_name(disposition), None if file_name is None else file_name.decode("utf-8", "replace"), encoding
    )


def _field_name(disposition: bytes) -> str:
    """Return the field's name. Raises ``GatewayError`` if servers could disagree on whether it is a field
    that matters."""
    found = [
        {match[2] or match[3] or b"" for match in reading.finditer(disposition) if match[1].lower() == b"name"}
        for reading in _READINGS
    ]
    decisive = {name.replace(b"\\", b"").strip() for names in found for name in names} & _CHECKED_MEMBERS
    has_extended_name = any(b"*" in match[1] for match in _READINGS[2].finditer(disposition))
    if has_extended_name or (decisive and any(names != decisive for names in found)):
        raise invalid('the name of a part of the multipart body is ambiguous: write name="NAME" once')
    return min(found[0], default=b"").decode("utf-8", "replace")


FIELD_BYTES: Final = 1024
"""The most bytes of a field that is read; no model has a longer name."""

_PLAIN: Final = ("", "7bit", "8bit", "binary")


class FieldReplacer:
    """An editor that replaces the content of each field ``name`` in a multipart body by that which ``replace`` returns,
    while the body is forwarded. A field may have ``longest`` bytes, and if it ``may_be_file`` a file name.

    Its methods raise ``GatewayError`` for invalid bodies and fields."""

    def __init__(
        self, boundary: bytes, name: str, replace: Callable[[bytes], bytes], longest: int = FIELD_BYTES,
        may_be_file: bool = False,
    ) -> None:  # fmt: skip
        self._parser = MultipartParser(boundary)
        self._name, self._replace, self._longest, self._may_be_file = name, replace, longest, may_be_file
        self._content: bytes | None = None  # the part of a field that has arrived

    def feed(self, piece: bytes) -> bytes:
        return b"".join(map(self._edit_event, self._parser.feed(piece)))

    def close(self) -> None:
        self._parser.close()

    def _edit_event(self, event: MultipartEvent) -> bytes:
        if isinstance(event, MultipartHead):
            self._content = b"" if event.name.lower() == self._name else None
            is_file = event.file_name is not None and not self._may_be_file
            if self._content is not None and (is_file or event.encoding not in _PLAIN):
                raise invalid(f"{self._name} is a file in the multipart body, or encoded: send plain text", self._name)
            return event.raw
        if self._content is None:
            return event.raw
        if isinstance(event, MultipartData):
            self._content += event.raw
            if len(self._content) > self._longest:
                raise invalid(f"{self._name} has more than {self._longest} bytes in the multipart body", self._name)
            return b""
        content, self._content = self._content, None
        return self._replace(content) + event.raw


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
    replacement. The bytes before the first boundary are in ``preamble`` instead. ``fields`` are the short fields of
    ``wanted_fields`` so far, ``on_file`` receives the bytes of each file.
    """

    def __init__(
        self, boundary: bytes, wanted_fields: Set[str] = frozenset(), on_file: Callable[[bytes], object] = ignore_bytes
    ) -> None:
        self.model: str | None = None
        self.fields: dict[str, str] = {}
        self.preamble: bytes | None = None
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
        self.difference = len(name) - len(self.model.encode())
        held, self._held = self._held, []
        return b"".join([name, *held])

    def release_rest(self) -> bytes:
        """Return the bytes after ``model``, which ``replace`` then does not return; later bytes no longer wait."""
        self._phase = ModelPhase.REPLACED
        held, self._held = self._held, []
        return b"".join(held)

    def model_part(self, model: str) -> bytes:
        """Return a part with ``model``, to precede the first boundary of a body without one."""
        assert self._phase is ModelPhase.AWAITED
        part = b'%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n'
        written = part % (self._parser.mark, model.encode())
        self.difference = len(written)
        return written

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
            case MultipartBoundary(raw) if self.preamble is None:
                self.preamble = self._parser.preamble
                return raw[len(self.preamble) :]
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
        elif (name := self._part.name.lower()) in self._wanted_fields:
            self._value += raw
            if len(self._value) > FIELD_BYTES:  # its reader may ignore blanks or zeros before a number
                raise invalid(f"{name} has more than {FIELD_BYTES} bytes in the multipart body", name)

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
        elif part is not None and part.name.lower() in self._wanted_fields and self._value:
            name = part.name.lower()
            if name in self.fields:  # servers differ in which one they read
                raise invalid(f"{name} appears twice in the multipart body: send it once", name)
            self.fields[name] = self._value.decode("utf-8", "replace")


def _model_error(what: str) -> GatewayError:
    return invalid(f"model {what}", "model")
