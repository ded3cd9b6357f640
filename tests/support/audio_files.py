"""Audio files of a known length in the formats that clients upload, with silence as content."""

import io
import struct
import wave


def wav(seconds: float, rate: int = 16_000, stated: int | None = None) -> bytes:
    """Return a WAV file in 16-bit PCM.

    ``stated`` is a wrong length in its header, as from a writer that cannot seek.
    """
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes(bytes(int(2 * rate * seconds)))
    data = file.getvalue()
    return data if stated is None else data[:40] + struct.pack("<I", stated) + data[44:]


def wav_with_chunks(seconds: float) -> bytes:
    """Return a WAV file with an odd chunk before the sound and one after it."""
    plain = wav(seconds)
    extra = struct.pack("<4sI", b"LIST", 5) + b"INFO\x00\x00"
    return plain[:36] + extra + plain[36:] + extra


def flac(seconds: float, rate: int = 44_100, frames: int = 4000) -> bytes:
    packed = (rate << 44 | 15 << 36 | int(rate * seconds)).to_bytes(8, "big")
    return b"fLaC" + b"\x80\x00\x00\x22" + bytes(10) + packed + bytes(16 + frames)


def _page(position: int, packet: bytes) -> bytes:
    sizes = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    return b"OggS" + struct.pack("<BBqIIIB", 0, 0, position, 1, 0, 0, len(sizes)) + sizes + packet


def ogg(first: bytes, end: int) -> bytes:
    """Return Ogg pages up to sample ``end``, and a page in which no packet ends."""
    return _page(0, first) + b"".join(_page(end * at // 5, bytes(900)) for at in range(1, 6)) + _page(-1, bytes(100))


def opus(seconds: float) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 312, 16_000, 0, 0)
    return ogg(head, int(48_000 * seconds) + 312)


def vorbis(seconds: float) -> bytes:
    head = b"\x01vorbis" + struct.pack("<IBIiiiBB", 0, 1, 22_050, 0, 64_000, 0, 0xB8, 1)
    return ogg(head, int(22_050 * seconds))


def mp3(seconds: float, picture: int = 0, frames: bool = False) -> bytes:
    """Return an MP3 file (MPEG 2 layer III, 32 kbit/s at 16 kHz), optionally with an ID3 picture of ``picture``
    bytes, and with a frame count as for a variable rate."""
    tag = b""
    if picture:
        tag = b"ID3\x04\x00\x00" + bytes(picture >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(picture)
    count = int(seconds * 16_000 / 576)
    first = bytearray(b"\xff\xf3\x48\xc4" + bytes(140))
    if frames:
        first[13:25] = b"Xing" + struct.pack(">II", 1, count)
        count //= 2
    return tag + bytes(first) + (b"\xff\xf3\x48\xc4" + bytes(140)) * (count - 1)


def _box(kind: bytes, content: bytes, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8, kind) + content


def mp4(
    seconds: float,
    stated_seconds: float | None = None,
    wide: bool = False,
    early: bool = False,
    fragments: bool = False,
) -> bytes:
    """Return an MP4 file.

    ``stated_seconds`` is the length that its header states, ``wide`` uses 64-bit numbers, ``early`` puts the header
    first, and ``fragments`` makes it fragmented.
    """
    length = int(1000 * (seconds if stated_seconds is None else stated_seconds))
    whole = 0 if fragments else length
    times = struct.pack(">BxxxQQIQ", 1, 0, 0, 1000, whole) if wide else struct.pack(">BxxxIIII", 0, 0, 0, 1000, whole)
    extends = _box(b"mvex", _box(b"mehd", struct.pack(">BxxxI", 0, length))) if fragments else b""
    movie = _box(b"moov", _box(b"mvhd", times + bytes(80)) + extends)
    media = _box(b"mdat", bytes(int(4000 * seconds)), wide)
    return _box(b"ftyp", b"M4A \x00\x00\x00\x00") + (movie + media if early else media + movie)
