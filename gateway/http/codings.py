"""Content codings (RFC 9110, section 8.4): decoders of compressed requests and responses, which work piece by piece."""

import importlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeAlias

from gateway.http.sockets import READ

PIECE: Final = READ
"""Bytes of a decoded piece, as of a read: a bomb reaches the reader's limit before it fills the memory, and readers get
no more in one call than from uncompressed data."""
ZSTD_WINDOW_LOG: Final = 23  # 8 MiB, the limit of RFC 9659: a frame may request more memory than it fills

_GZIP: Final = 16 + zlib.MAX_WBITS
_MEMBER: Final = b"\x1f"  # the first byte of a member
_FLUSHED: Final = b"\x00\x00\xff\xff"
"""The last bytes of deflated data after a flush: an empty block without compression (RFC 1951, section 3.2.4)."""
_LAST_BLOCK: Final = b"\x03"
"""An empty last block of br (RFC 7932, section 9.2)."""


class Decoder(Protocol):
    """Decodes one coding. Both methods raise ``ValueError`` for invalid data."""

    @property
    def is_whole(self) -> bool:
        """True if the data has its end, and nothing after it."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the content that ``data`` completes, in pieces of at most ``PIECE`` bytes, none empty."""

    def finish(self) -> None:
        """Handle the end of the data."""


class Inflater:
    """Decodes gzip, and deflate with or without zlib's header: RFC 9110 requires it, but some servers omit it.

    gzip may have up to ``most`` members (RFC 1952, section 2.2), and padding after the last one.
    """

    def __init__(self, window: int, most: float = 1, bare: bool = False) -> None:
        self._window = window
        self._unpack = zlib.decompressobj(window)
        self._members_left = most - 1
        self._bare = bare  # while it may still be without a header
        self._last = b""  # the last bytes received
        self._is_padded = False

    @property
    def is_whole(self) -> bool:
        return self._unpack.eof and not self._is_padded

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._last = (self._last + data[-4:])[-4:]
        while True:
            if self._unpack.eof:
                if self._window != _GZIP or not data.startswith(_MEMBER):
                    self._is_padded |= bool(data)
                    return
                self._members_left -= 1
                if self._members_left < 0:
                    raise ValueError("there are too many members")
                self._unpack = zlib.decompressobj(self._window)
            if piece := self._inflate(data):
                yield piece
            elif not self._unpack.eof:
                return
            data = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail

    def _inflate(self, data: bytes) -> bytes:
        bare, self._bare = self._bare, False
        try:
            return self._unpack.decompress(data, PIECE)
        except zlib.error as error:
            if bare:
                self._unpack = zlib.decompressobj(-zlib.MAX_WBITS)
                return self._inflate(data)
            raise ValueError(str(error)) from error

    def finish(self) -> None:
        """Accept an early end only after a flush: some servers flush each event, and never write the end."""
        if self._last and not self._unpack.eof and self._last != _FLUSHED:
            raise ValueError("the data is incomplete")


class ZstdDecoder:
    """Decodes zstd, which may have up to ``most`` frames (RFC 8878)."""

    def __init__(self, module: Any, most: float) -> None:
        self._module = module
        self._frames_left = most
        self._frame = self._next_frame()
        self._begun = False

    @property
    def is_whole(self) -> bool:
        return bool(self._frame.eof)

    def _next_frame(self) -> Any:
        self._frames_left -= 1
        if self._frames_left < 0:
            raise ValueError("there are too many frames")
        return self._module.ZstdDecompressor(
            options={self._module.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        )

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._begun = True
        while data or not (self._frame.eof or self._frame.needs_input):
            if self._frame.eof:
                self._frame = self._next_frame()
            try:
                piece = self._frame.decompress(data, PIECE)
            except self._module.ZstdError as error:
                raise ValueError(str(error)) from error
            data = self._frame.unused_data if self._frame.eof else b""
            if piece:
                yield piece

    def finish(self) -> None:
        if self._begun and not self._frame.eof:
            raise ValueError("the last frame is incomplete")


class BrotliDecoder:
    """Decodes br with the package brotli."""

    def __init__(self, module: Any, most: float) -> None:
        self._module = module
        self._unpack = module.Decompressor()
        self._begun = False

    @property
    def is_whole(self) -> bool:
        return bool(self._unpack.is_finished())

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._begun = True
        while piece := self._inflate(data):
            yield piece
            data = b""

    def _inflate(self, data: bytes) -> bytes:
        try:
            # It returns whole blocks of its own sizes, which may be far more than its limit.
            found: bytes = self._unpack.process(data, output_buffer_limit=PIECE // 4)
        except self._module.error as error:
            raise ValueError(str(error)) from error
        return found

    def finish(self) -> None:
        """Accept an early end only after a flush, as with gzip: an empty last block then completes the data."""
        if self._begun and not self._unpack.is_finished():
            self._inflate(_LAST_BLOCK)
            if not self._unpack.is_finished():
                raise ValueError("the data is incomplete")


Maker: TypeAlias = Callable[[float], Decoder]
"""Makes the decoder of data with at most so many members or frames."""


def _decoders() -> Mapping[str, Maker]:
    found: dict[str, Maker] = dict.fromkeys(("gzip", "x-gzip"), lambda most: Inflater(_GZIP, most))
    found["deflate"] = lambda _: Inflater(zlib.MAX_WBITS, bare=True)
    # Python 3.14 includes zstd; earlier versions use backports.zstd with the same interface. Brotli is optional.
    for name, coding, maker in (
        ("brotli", "br", BrotliDecoder),
        ("backports.zstd", "zstd", ZstdDecoder),
        ("compression.zstd", "zstd", ZstdDecoder),
    ):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if coding == "br" and not hasattr(module.Decompressor, "can_accept_more_data"):
            continue  # before 1.2, brotli could not limit its output
        found[coding] = lambda most, maker=maker, module=module: maker(module, most)  # type: ignore[misc]
    return found


DECODERS: Mapping[str, Maker] = _decoders()
"""The constructor of the decoder of each supported coding."""
