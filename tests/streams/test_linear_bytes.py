"""Work on the bytes of a stream is linear in them, in any pieces (CWE-407)."""

from collections.abc import Callable
from itertools import product

from streams import sse
from streams.structure import has_more_elements
from streams.surrogates import find_lone_surrogate, replace_lone_surrogates
from tests.support.each_row import each_row
from tests.support.growth import Work, assert_time_grows_linearly

UNITS = (
    b"a", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b" ", b":", b"data:", b"data: a\n", b"data: {}\n\n", b"event: a\n",
    b"id: 1\n", b": ping\n\n", b"\\", b'"', b'\\"', rb"\ud83d", rb"\\ud83d", rb"\ud83d\ude00", rb"\ud", b"[", b"[],",
    b'{"a":', b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\x00", b"\xff",
)  # fmt: skip
READ = 7


def split_at_once(data: bytes) -> None:
    splitter = sse.Splitter(2**30)
    splitter.feed(data)
    splitter.close()


def split_in_small_reads(data: bytes) -> None:
    splitter = sse.Splitter(2**30)
    for at in range(0, len(data), READ):
        splitter.feed(data[at : at + READ])
    splitter.close()


WORK: dict[str, Callable[[bytes], object]] = {
    "split at once": split_at_once,
    "split in small reads": split_in_small_reads,
    "parse": sse.parse,
    "complete": sse.complete,
    "look for comments that do harm": sse.is_plain,
    "look for data": sse.has_data,
    "mend surrogates": replace_lone_surrogates,
    "find a lone surrogate": find_lone_surrogate,
    "count elements": lambda data: has_more_elements(data, 8),
}


@each_row("name, unit", product(WORK, UNITS))
def test_time_is_proportional_to_the_bytes(name, unit):
    def work_of(n: int) -> Work:
        data = b'data: {"a":"' + unit * (8 * n)
        return lambda: WORK[name](data)

    assert_time_grows_linearly(work_of)
