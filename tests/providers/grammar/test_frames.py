"""Events in frames; most have one line of data, which is read faster."""

from hypothesis import given
from hypothesis import strategies as st

from providers.grammar.frames import SSE_FRAMES, Frame, check_frame
from providers.grammar.rules import ReadEvent

DATA = st.sampled_from(
    [
        b'{"a":1}',
        b"{}",
        b"{",
        b"[1]",
        b"[DONE]",
        b"",
        '{"a":"\u2028é"}'.encode(),
        b'{"a":"\xff"}',
        b'{"a":\n1}',
        b"{}\r",
    ]
)
LINES = st.sampled_from([b"data: ", b"data:", b"event: x\ndata: ", b": kept\n", b"id: 1\n", b"\xef\xbb\xbfdata: "])
ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n", b"", b"\n\n\n"])


@given(LINES, DATA, ENDS)
def test_the_short_way_finds_what_the_long_one_finds(line, data, end):
    raw = line + data + end
    frame = Frame.of(raw)
    value = frame.value if frame.fields else None
    assert SSE_FRAMES.read(raw) == ReadEvent(frame.name, value, tuple(check_frame(frame, value)))
