"""Lengths of recordings from their own headers, for answers without the billed length (api7/aisix#868,
envoyproxy/ai-gateway#2185, BerriAI/litellm#36357)."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.endpoints.audio_length import DEFAULT_RATE, MAX_RATE, MIN_RATE, AudioLength
from tests.support import audio_files as files
from tests.support.examples import examples
from tests.support.growth import assert_time_grows_linearly
from tests.support.multipart import pieces

FILES = {
    "wav": files.wav(7.5),
    "wav, written unseen": files.wav(7.5, stated=0xFFFFFFFF),
    "wav, never finished": files.wav(7.5, stated=0),
    "wav with other chunks": files.wav_with_chunks(7.5),
    "flac": files.flac(7.5),
    "opus": files.opus(7.5),
    "vorbis": files.vorbis(7.5),
    "mp3": files.mp3(7.5),
    "mp3 with a picture": files.mp3(7.5, picture=200_000),
    "mp3 of a variable rate": files.mp3(7.5, frames=True),
    "mp4": files.mp4(7.5),
    "mp4 to be streamed": files.mp4(7.5, early=True),
    "mp4 of 64 bits": files.mp4(7.5, wide=True),
    "mp4 of fragments": files.mp4(7.5, early=True, fragments=True),
}


def length(data: bytes, size: int = 2**30) -> int:
    """Return the milliseconds of a file in pieces of ``size``."""
    audio = AudioLength()
    for piece in pieces(data, size):
        audio.feed(piece)
    assert audio.size == len(data)
    return audio.milliseconds()


def test_the_length_is_read_from_the_header_in_any_pieces():
    for name, data in FILES.items():
        assert abs(length(data) - 7500) <= 40, name
        for size in (3, 4099):
            assert length(data, size) == length(data), (name, size)


def test_other_files_count_as_compressed_speech():
    for data in (b"", b"\x1aE\xdf\xa3" + bytes(80_000), b"RIFF", b"OggS" + bytes(50_000), files.flac(0)):
        assert length(data) == max(1, 1000 * len(data) // DEFAULT_RATE)


def test_a_header_without_a_rate_is_ignored():
    """ISO/IEC 14496-12 does not forbid a time scale of zero."""
    for data, rate in (
        (files.mp4(7.5), struct.pack(">II", 1000, 7500)),
        (files.mp4(7.5, early=True, fragments=True), b"mvhd"),
        (files.wav(7.5), b"fmt "),
        (files.opus(7.5), b"OpusHead"),
    ):
        assert rate in data
        broken = data.replace(rate, bytes(4) + rate[4:])
        assert length(broken) == length(broken, 5) == round(1000 * len(broken) / DEFAULT_RATE)


def test_a_false_header_does_not_make_a_recording_free():
    """Nor one that lasts for years, from a file that was cut."""
    data = b"\x00" * 4_000_000
    short = files.mp4(1000, stated_seconds=0.001, early=True)
    assert length(short) == 1000 * len(short) // MAX_RATE
    long = files.mp4(1, stated_seconds=2_000_000)
    assert length(long) == 1000 * len(long) // MIN_RATE
    assert length(struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 9, b"WAVE", b"fmt ", 16, 1, 1, 0, 0, 0, 16) + data) > 1000


@given(
    name=st.sampled_from(sorted(FILES)),
    at=st.integers(0, 120),
    noise=st.binary(max_size=12),
    size=st.sampled_from((1, 5, 64)),
)
@settings(max_examples=examples(100), deadline=None)
def test_a_broken_header_is_read_the_same_for_any_reads(name, at, noise, size):
    data = FILES[name][:3000]
    data = data[:at] + noise + data[at + len(noise) :]
    whole = length(data)
    assert whole == length(data, size)
    assert 1000 * len(data) // MAX_RATE <= whole <= max(1, 1000 * len(data) // MIN_RATE + 1)


def test_work_is_linear_in_a_file_of_tiny_chunks():
    for head, unit in (
        (files.wav(0)[:36], struct.pack("<4sI", b"junk", 0)),
        (struct.pack(">I4s", 8, b"ftyp"), struct.pack(">I4s", 8, b"free")),
        (struct.pack(">I4s", 8, b"ftyp"), struct.pack(">I4s", 8, b"moov")),
        (files.opus(0), b"OggS"),
    ):
        assert_time_grows_linearly(lambda count, head=head, unit=unit: lambda: length(head + unit * count, 97))
