"""Recordings of a known length in the forms that clients upload: headers as encoders write them, and silence."""

import io
import struct
import wave


def wav(seconds: float, rate: int = 16_000, stated: int | None = None) -> bytes:
    """PCM of 16 bits; ``stated`` is what a writer that could not go back says of its length."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes(bytes(int(2 * rate * seconds)))
    data = file.getvalue()
    return data if stated is None else data[:40] + struct.pack("<I", stated) + data[44:]


def wav_with_chunks(seconds: float) -> bytes:
    """The same with an odd chunk before the sound and one behind it."""
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
    """Pages up to ``end`` samples, and one in which no packet ends."""
    return _page(0, first) + b"".join(_page(end * at // 5, bytes(900)) for at in range(1, 6)) + _page(-1, bytes(100))


def opus(seconds: float) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 312, 16_000, 0, 0)
    return ogg(head, int(48_000 * seconds) + 312)


def vorbis(seconds: float) -> bytes:
    head = b"\x01vorbis" + struct.pack("<IBIiiiBB", 0, 1, 22_050, 0, 64_000, 0, 0xB8, 1)
    return ogg(head, int(22_050 * seconds))


def mp3(seconds: float, picture: int = 0, frames: bool = False) -> bytes:
    """MPEG 2 layer III, 32 kbit/s at 16 kHz: behind an ID3 tag with a picture of so many bytes, and with the number of
    frames where a variable rate makes one necessary."""
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
    seconds: float, told: float | None = None, wide: bool = False, early: bool = False, fragments: bool = False
) -> bytes:
    """A film's header behind the media or before it, ``told`` what it claims; with numbers of 64 bits; or of
    fragments."""
    length = int(1000 * (seconds if told is None else told))
    whole = 0 if fragments else length
    times = struct.pack(">BxxxQQIQ", 1, 0, 0, 1000, whole) if wide else struct.pack(">BxxxIIII", 0, 0, 0, 1000, whole)
    extends = _box(b"mvex", _box(b"mehd", struct.pack(">BxxxI", 0, length))) if fragments else b""
    movie = _box(b"moov", _box(b"mvhd", times + bytes(80)) + extends)
    media = _box(b"mdat", bytes(int(4000 * seconds)), wide)
    return _box(b"ftyp", b"M4A \x00\x00\x00\x00") + (movie + media if early else media + movie)
