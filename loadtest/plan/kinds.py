"""The kinds of values in a load scenario, in addition to those in all files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from configfile.keys import KEY, Key, Kind, kind_of
from configfile.kinds import USER_NAME, Url, read_text
from configfile.wording import Wrong, describe
from loadtest.plan.masked_urls import mask_url

if TYPE_CHECKING:
    import attrs

MOST: Final = 10**6  # requests a second, and clients
ALL_REQUESTS: Final = 10**9
MOST_TOKENS: Final = 10**12
MOST_STREAMS: Final = 10_000
MOST_PERCENTILES: Final = 8  # more do not fit into a table
WIDEST: Final = 8192  # pixels of an image


def as_keys(_: type, fields: "list[attrs.Attribute[Any]]") -> "list[attrs.Attribute[Any]]":
    """Make every attribute of a class a key in a file."""
    return [field.evolve(metadata={KEY: Key()}) for field in fields]


def read_as(of: Any, value: Any) -> Any:
    """Read a value as the kind ``of``. Raises ``Wrong``."""
    kind = kind_of(of)
    assert kind is not None
    assert kind.read is not None
    return kind.read(value)


# Numbers


def _parse_number(value: Any, most: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Wrong(describe(value), f"expected {what}")
    return float(value)


def _parse_share(value: Any) -> float:
    what = "a share such as 10% or 0.1"
    if isinstance(value, str):
        found = re.fullmatch(r"(\d{1,2}(?:\.\d{1,6})?|100)\s*%", value)
        if found is None:
            raise Wrong(describe(value), f"expected {what}")
        return float(found[1]) / 100
    return _parse_number(value, 1, what)


def _parse_rate(value: Any) -> float:
    return _parse_number(value, MOST, f"a number, 0 or more and at most {MOST}")


def _parse_speed(value: Any) -> float:
    what = "a number above 0: 2 is twice as fast as recorded"
    speed = _parse_number(value, 10**6, what)
    if not speed:
        raise Wrong(describe(value), f"expected {what}")
    return speed


def _whole_number_parser(most: int, what: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise Wrong(describe(value), f"expected {what}, 1 to {most}")
        return value

    return read


_TOKEN_COUNT: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kM]?)")


def _parse_token_count(value: Any) -> int:
    found = _TOKEN_COUNT.fullmatch(value if isinstance(value, str) else str(value))
    count = round(float(found[1]) * {"": 1, "k": 10**3, "M": 10**6}[found[2]]) if found else 0
    if isinstance(value, bool) or not 1 <= count <= MOST_TOKENS:
        raise Wrong(describe(value), f"expected a number of tokens, such as 50000 or 2M, from 1 to {MOST_TOKENS}")
    return count


def parse_percentiles(value: Any) -> tuple[float, ...]:
    """Return percentiles from a list or a comma-separated text. Raises ``Wrong``."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    found = [re.fullmatch(r"\s*p?(\d{1,2}(?:\.\d{1,4})?)\s*", str(part)) for part in parts]
    good = {float(match[1]) for match in found if match}
    if not good or not all(found) or len(good) > MOST_PERCENTILES:
        what = f"expected at most {MOST_PERCENTILES} percentiles below 100, such as 50,90,99.9"
        raise Wrong(describe(value), what)
    return tuple(sorted(good))


# Other kinds


def _parse_file_path(value: Any) -> Path:
    text = read_text(value)
    if not text.strip():
        raise Wrong("the path is empty", "give the path of a file")
    return Path(text)


def _parse_image_size(value: Any) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×]\s*(\d{1,5})\s*", value) if isinstance(value, str) else None
    if found is None or not all(1 <= int(side) <= WIDEST for side in found.groups()):
        raise Wrong(describe(value), f"expected a width and a height in pixels, 1 to {WIDEST}, such as 512x512")
    return int(found[1]), int(found[2])


def _parse_address(value: Any) -> str:
    try:
        return str(read_as(Url, value))
    except Wrong as error:
        if error.found == USER_NAME:
            raise Wrong(USER_NAME, "set the key with --key-env NAME (key_env), or in headers") from None
        if type(value) is str and (better := _wrong_url(value)) is not None:
            raise better from None
        if type(value) is str and error.found == describe(value):  # values from variables are not repeated anyway
            raise Wrong(describe(mask_url(value)), error.expected) from None
        raise


def _wrong_url(text: str) -> Wrong | None:
    """Return a specific mistake in a URL, or ``None``."""
    if "#" in text:
        return Wrong("the URL has a fragment (#…)", "remove it: clients do not send it")
    port = re.fullmatch(r"https?://[^/?#@]*?:(\d+)(?:[/?].*)?", text)
    if port is not None and not 1 <= int(port[1]) <= 65535:
        return Wrong(describe(mask_url(text)), "its port must be 1 to 65535")
    if re.fullmatch(r"(?:[\w-]+(?:\.[\w-]+)*|\[[\da-fA-F:]+\])(?::\d{1,5})?(?:[/?].*)?", text):
        return Wrong(f"{describe(mask_url(text))}: http:// is missing", "", f"http://{mask_url(text)}")
    return None


_VERSIONS: Final[dict[str, Literal[1, 2]]] = {"1": 1, "1.1": 1, "2": 2}


def _parse_http_version(value: Any) -> int:
    if isinstance(value, bool) or (found := _VERSIONS.get(str(value))) is None:
        raise Wrong(describe(value), "expected 1 (HTTP/1.1) or 2")
    return found


# The kinds

Share: TypeAlias = Annotated[float, Kind("a share", _parse_share)]  # 0 to 1
Rate: TypeAlias = Annotated[float, Kind("a number", _parse_rate)]  # a second
Speed: TypeAlias = Annotated[float, Kind("a number above 0", _parse_speed)]
Requests: TypeAlias = Annotated[int, Kind("a number", _whole_number_parser(ALL_REQUESTS, "a number of requests"))]
Clients: TypeAlias = Annotated[int, Kind("a number", _whole_number_parser(MOST, "a number of clients"))]
TokenCount: TypeAlias = Annotated[int, Kind("a number of tokens", _parse_token_count)]
Percentiles: TypeAlias = Annotated[tuple[float, ...], Kind("percentiles", parse_percentiles)]
FilePath: TypeAlias = Annotated[Path, Kind("a path", _parse_file_path)]
ImageSize: TypeAlias = Annotated[tuple[int, int], Kind("a size in pixels", _parse_image_size)]
# No message may repeat it, because of its key.
Address: TypeAlias = Annotated[str, Kind("a URL", _parse_address, takes_text=True)]
HttpVersion: TypeAlias = Annotated[Literal[1, 2], Kind("a version", _parse_http_version)]
StreamCount: TypeAlias = Annotated[
    int, Kind("a number", _whole_number_parser(MOST_STREAMS, "a number of exchanges that share a connection"))
]  # of one connection

HTTP_1: Final = 1
PERCENTILES: Final = (50.0, 95.0, 99.0)  # that a report shows
