"""Reader of a recording's length from the file's header, while its bytes are forwarded.

The answer to a client that requests plain text does not state the billed seconds, so they are estimated from the file;
otherwise some formats would go unmetered (api7/aisix#868, envoyproxy/ai-gateway#2185).
"""

import struct
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

DEFAULT_RATE: Final = 8000
"""Bytes per second of a file with an unknown header: slightly compressed speech (64 kbit/s)."""
MAX_RATE: Final = 2_000_000
"""The most bytes per second of any recording, whatever its header claims: film, or many channels."""
MIN_RATE: Final = 50
"""The fewest bytes per second of any recording (400 bit/s)."""

_TAIL_BYTES: Final = 65_307
"""The size of the largest Ogg page in bytes (RFC 3533 section 6)."""
_MAX_BOXES: Final = 1000
"""The most chunks or boxes that are read, which may be arbitrarily small."""

LengthFunction: TypeAlias = Callable[[int, bytes], float]
"""A function that returns seconds from the file's size and its last bytes."""
HeaderReading: TypeAlias = Generator[tuple[int, int], bytes, LengthFunction]
"""A generator that requests bytes as ``(offset, count)``, at increasing offsets, and returns the length function."""


class AudioLength:
    """The length of one file, whose bytes it receives."""

    def __init__(self) -> None:
        self.size = 0
        self._tail = bytearray()
        self._reading: HeaderReading | None = _read_header()
        self._at, self._count = next(self._reading)
        self._window = b""
        self._length: LengthFunction = _length_by_size

    def feed(self, data: bytes) -> None:
        start = self.size
        self.size += len(data)
        self._tail += data
        if len(self._tail) > 4 * _TAIL_BYTES:  # rarely, because it moves the rest
            del self._tail[:-_TAIL_BYTES]
        while self._reading is not None:
            begin = max(0, self._at + len(self._window) - start)
            self._window += data[begin : begin + self._count - len(self._window)]
            if len(self._window) < self._count:
                break
            self._resume(self._reading)

    def milliseconds(self) -> int:
        """Return the length of the file so far, at least 1."""
        tail = bytes(self._tail[-_TAIL_BYTES:])
        try:
            seconds = self._length(self.size, tail)
        except (ArithmeticError, struct.error):
            seconds = _length_by_size(self.size, tail)
        return max(1, round(1000 * min(max(seconds, self.size / MAX_RATE), self.size / MIN_RATE)))

    def _resume(self, reading: HeaderReading) -> None:
        window, self._window = self._window, b""
        end = self._at + self._count
        try:
            self._at, self._count = reading.send(window)
        except StopIteration as known:
            self._reading, self._length = None, known.value
        else:
            if self._at < end:  # an offset that points back: earlier bytes are gone
                self._reading = None


def _length_by_size(size: int, tail: bytes) -> float:
    return size / DEFAULT_RATE


def _read_header() -> HeaderReading:
    head = yield 0, 12
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return (yield from _read_wav())
    if head[:4] == b"fLaC":
        return (yield from _read_flac())
    if head[:4] == b"OggS":
        return (yield from _read_ogg())
    if head[4:8] == b"ftyp":
        return (yield from _read_mp4(int.from_bytes(head[:4], "big")))
    if head[:3] == b"ID3" or (head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        return (yield from _read_mp3(head))
    return _length_by_size


def _read_wav() -> HeaderReading:
    """Read RIFF chunks: the rate in ``fmt``, and the size of ``data``, or the rest of the file if it is not set."""
    at, rate = 12, 0
    for _ in range(_MAX_BOXES):
        kind, length = struct.unpack("<4sI", (yield at, 8))
        at += 8
        if kind == b"fmt ":
            form, channels, samples, rate, _, bits = struct.unpack("<HHIIHH", (yield at, 16))
            if form in (1, 3, 0xFFFE) and bits:  # PCM: the stated byte rate is ignored
                rate = samples * channels * bits / 8
        elif kind == b"data":
            stated = length if length not in (0, 0xFFFFFFFF) else float("inf")
            begin, speed = at, rate
            return lambda size, tail: min(stated, size - begin) / speed
        at += length + length % 2
    return _length_by_size


def _read_flac() -> HeaderReading:
    """Read STREAMINFO, which is always the first block (RFC 9639 section 8.2)."""
    packed = int.from_bytes((yield 18, 8), "big")
    rate, samples = packed >> 44, packed & (2**36 - 1)
    return (lambda size, tail: samples / rate) if samples else _length_by_size


def _read_ogg() -> HeaderReading:
    """Read the codec's rate in the first page and the end position of the last page (RFC 3533, RFC 7845)."""
    segments = (yield 26, 1)[0]
    packet = yield 27 + segments, 40
    if packet.startswith(b"OpusHead"):
        rate, skipped = 48_000, int.from_bytes(packet[10:12], "little")
    elif packet.startswith(b"\x01vorbis"):
        rate, skipped = int.from_bytes(packet[12:16], "little"), 0
    elif packet.startswith(b"Speex   "):
        rate, skipped = int.from_bytes(packet[36:40], "little"), 0
    elif packet.startswith(b"\x7fFLAC"):
        rate, skipped = int.from_bytes(packet[27:30], "big") >> 4, 0
    else:
        return _length_by_size

    def length(size: int, tail: bytes) -> float:
        end = len(tail)
        while (end := tail.rfind(b"OggS", 0, end)) >= 0:
            position = int.from_bytes(tail[end + 6 : end + 14], "little")
            if position < 2**63:  # -1: no packet ends in this page
                return max(0, position - skipped) / rate
        return _length_by_size(size, tail)

    return length


def _read_mp4(first: int) -> HeaderReading:
    """Read the movie's header (ISO/IEC 14496-12 section 8.2.2), before or after the media, or its fragments' header."""
    at, scale = first, 0
    for _ in range(_MAX_BOXES):
        length, kind = struct.unpack(">I4s", (yield at, 8))
        end = at + 8
        if length == 1:
            (length,) = struct.unpack(">Q", (yield end, 8))
            end += 8
        if kind in (b"moov", b"mvex"):
            at = end
            continue
        if kind in (b"mvhd", b"mehd"):
            wide = (yield end, 1)[0] == 1
            if kind == b"mvhd":
                scale, duration = struct.unpack(
                    ">IQ" if wide else ">II", (yield end + (20 if wide else 12), 12 if wide else 8)
                )
            else:
                (duration,) = struct.unpack(">Q" if wide else ">I", (yield end + 4, 8 if wide else 4))
            if duration:
                units, rate = duration, scale
                return lambda size, tail: units / rate
        if length == 0:  # extends to the end of the file
            break
        at += length
    return _length_by_size


_MPEG1_KBITS: Final = {
    1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG2_KBITS: Final = {
    1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _read_mp3(head: bytes) -> HeaderReading:
    """Read the first frame: the number of frames if stated (Xing, VBRI), else its bit rate."""
    at = 0
    if head.startswith(b"ID3"):
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frame = (yield at, 64) if at else head + (yield len(head), 52)
    version, layer = frame[1] >> 3 & 3, 4 - (frame[1] >> 1 & 3)
    bits, samples = frame[2] >> 4, frame[2] >> 2 & 3
    if frame[0] != 0xFF or frame[1] < 0xE0 or version == 1 or layer == 4 or bits in (0, 15) or samples == 3:
        return _length_by_size
    rate = _MPEG_RATES[version][samples]
    per_frame = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
    is_mono = frame[3] >> 6 == 3
    xing_offset = 4 + ((17 if is_mono else 32) if version == 3 else (9 if is_mono else 17))
    for marks, place, count in (((b"Xing", b"Info"), xing_offset, xing_offset + 8), ((b"VBRI",), 36, 50)):
        if frame[place : place + 4] in marks and (frames := int.from_bytes(frame[count : count + 4], "big")):
            length = frames * per_frame / rate
            return lambda size, tail: length
    speed = (_MPEG1_KBITS if version == 3 else _MPEG2_KBITS)[layer][bits - 1] * 125
    return lambda size, tail: (size - at) / speed
