"""How a load connects: the version of HTTP that it asks for, and how many exchanges share a connection."""

from typing import Any, Final, Literal, NewType, cast

from configfile.wording import Wrong, describe
from loadtest.plan.converter import converter

HttpVersion = NewType("HttpVersion", int)
StreamCount = NewType("StreamCount", int)  # of one connection

HTTP_1, STREAMS = HttpVersion(1), StreamCount(100)
MOST_STREAMS: Final = 10_000
_VERSIONS: Final[dict[str, Literal[1, 2]]] = {"1": 1, "1.1": 1, "2": 2}


def _http_version(value: Any, _: Any) -> int:
    if isinstance(value, bool) or (found := _VERSIONS.get(str(value))) is None:
        raise Wrong(describe(value), "this must be 1 (HTTP/1.1) or 2")
    return found


def _stream_count(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_STREAMS:
        raise Wrong(describe(value), f"this must be a number of exchanges that share a connection, 1 to {MOST_STREAMS}")
    return value


def wire_version(http: int) -> Literal[1, 2]:
    """The same, for those who speak it."""
    return cast("Literal[1, 2]", http)


converter.register_structure_hook(HttpVersion, _http_version)
converter.register_structure_hook(StreamCount, _stream_count)
