"""Metrics as Prometheus takes them by remote write 1.0 (prometheus.io/docs/specs/prw/remote_write_spec).

That is protobuf in a block of snappy. Both are written here, in as few lines as an import of two packages and a file of
generated code would take: of protobuf four messages of strings and numbers, of snappy the literals that need no search
for repetitions (google/snappy, format_description.txt).
"""

import re
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from loadtest.reports.metrics_data import BucketCounts, Labels, MetricSeries, Unit

HEADERS: Final = (
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
)
_PATH = "/api/v1/write"
_SUFFIXES = {"s": "_seconds", "{token}/s": "_tokens_per_second"}
_LITERAL = 2**16  # bytes, the most whose length takes two


def url_of(url: str) -> str:
    """The URL to post to: where no path is given, Prometheus' own."""
    parts = urlsplit(url)
    return urlunsplit((*parts[:2], _PATH, *parts[3:])) if parts.path in ("", "/") else url


def body(series: Iterable[MetricSeries], now: float) -> bytes:
    """One write; ``now`` is in seconds since 1970."""
    at = b"\x10" + _varint(round(now * 1000))
    found = (_time_series(labels, value, at) for one in series for labels, value in _samples(one))
    return compressed(b"".join(found))


def _samples(one: MetricSeries) -> Iterator[tuple[Labels, float]]:
    """The samples of a series, named as Prometheus' own client libraries do it."""
    name, labels = _named(one.name, one.unit, one.labels)
    found = one.value
    if not isinstance(found, BucketCounts):
        yield (*labels, ("__name__", name if one.gauge else f"{name}_total")), float(found)
        return
    ends = (*(f"{bound:g}" for bound in found.bounds), "+Inf")
    for end, count in zip(ends, accumulate(found.counts), strict=True):
        yield (*labels, ("__name__", f"{name}_bucket"), ("le", end)), float(count)
    yield (*labels, ("__name__", f"{name}_sum")), found.total
    yield (*labels, ("__name__", f"{name}_count")), float(found.count)


@lru_cache(maxsize=2000)
def _named(name: str, unit: Unit, labels: Labels) -> tuple[str, Labels]:
    """Name and labels as Prometheus has them."""
    suffix, name = _SUFFIXES.get(unit, ""), _name(name)
    return name if name.endswith(suffix) else name + suffix, tuple((_name(key), value) for key, value in labels)


def _name(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)


# Protobuf: a field is its number and kind, and a value; of what has a length, that comes first


def _time_series(labels: Labels, value: float, at: bytes) -> bytes:
    sample = b"\x09" + struct.pack("<d", value) + at
    return _field(1, _label_fields(labels) + _field(2, sample))


@lru_cache(maxsize=20_000)
def _label_fields(labels: Labels) -> bytes:
    """The same at each push, of which there is one for each bound of each histogram: putting them together anew took
    the load tester 30 ms."""
    pairs = sorted((*labels, ("job", "trigate-load")))
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, text.encode())) for name, text in pairs)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def compressed(data: bytes) -> bytes:
    """A block of snappy that holds ``data`` as it is."""
    pieces = (data[start : start + _LITERAL] for start in range(0, len(data), _LITERAL))
    return _varint(len(data)) + b"".join(b"\xf4" + struct.pack("<H", len(piece) - 1) + piece for piece in pieces)
