"""The first lines of chunks in requests (RFC 9112, section 7.1), held to a stricter form than h11's.

h11 lets any byte but a line feed pass in a chunk extension. Servers that read a bare CR there as the end of the line
see other requests than we do: CVE-2025-55315 is such a difference.
"""

import re
from typing import TYPE_CHECKING, Any, Final, cast

import h11
from h11._readers import ChunkedReader

if TYPE_CHECKING:
    from h11._receivebuffer import ReceiveBuffer

MOST: Final = 2**40
"""The size of a chunk in bytes from which on no client means it."""

_FIRST_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[\t -~\x80-\xff]*)?[ \t]*\r\n")


class StrictChunkedReader(ChunkedReader):
    """Reads a chunked body, and refuses control characters in extensions and absurd sizes."""

    def __call__(self, buf: "ReceiveBuffer") -> Any:
        return super().__call__(cast("ReceiveBuffer", _CheckedLines(buf)))


class _CheckedLines:
    """A receive buffer of h11's whose lines are checked as they are taken out."""

    def __init__(self, buffer: "ReceiveBuffer") -> None:
        self.maybe_extract_at_most = buffer.maybe_extract_at_most
        self.maybe_extract_lines = buffer.maybe_extract_lines
        self._buffer = buffer

    def maybe_extract_next_line(self) -> Any:
        line = self._buffer.maybe_extract_next_line()
        if line is None:
            return None
        found = _FIRST_LINE.fullmatch(line)
        if found is None:
            raise h11.LocalProtocolError("illegal first line of a chunk")
        if int(found[1], 16) >= MOST:
            raise h11.LocalProtocolError("a chunk says that it has more bytes than there can be")
        return line
