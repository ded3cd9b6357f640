"""Load scenarios as they are written, and what may stand in them beside the kinds of a configuration."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NewType

import attrs

from configfile.kinds import USER_NAME
from configfile.wording import Wrong, describe
from loadtest.figures.conditions import early, parse
from loadtest.plan.asked_loads import Burst, Burstiness
from loadtest.plan.comparison import NoCondition
from loadtest.plan.connecting import HTTP_1, STREAMS, HttpVersion, StreamCount
from loadtest.plan.converter import Count, Duration, Secret, Url, Wait, converter
from loadtest.plan.lengths import Lengths, read_lengths
from loadtest.plan.load_request import (
    AT_ONCE,
    NO_OBJECTIVES,
    PERCENTILES,
    FilePath,
    ImageSize,
    LoadRequest,
    Objectives,
    Percentiles,
    Rate,
    Share,
    TokensSeen,
)
from loadtest.plan.objectives import objectives
from loadtest.plan.scenario import Spacing, shown
from loadtest.plan.shared_prefixes import SharedPrefixes, read_prefixes
from loadtest.plan.shares import ONE, Processes
from loadtest.plan.turns import HOOKS as TURN_HOOKS

Address = NewType("Address", Url)  # a URL that no message repeats with its key
Targets = NewType("Targets", dict[str, Address])
Conditions = NewType("Conditions", tuple[str, ...])
EarlyConditions = NewType("EarlyConditions", tuple[str, ...])
Number = NewType("Number", int)  # of requests
Clients = NewType("Clients", int)
TokenCount = NewType("TokenCount", int)
Speed = NewType("Speed", float)

# The defaults
AS_RECORDED = Speed(1.0)
GRACE, PATIENCE, SEED, ONCE = Duration(30.0), Wait(300.0), Count(1), Count(1)
SECONDS, EVER = 30.0, math.inf  # EVER: until there is the count

NO_CONDITIONS, NO_EARLY_ONES = Conditions(()), EarlyConditions(())
MOST = 10**6  # requests a second, and clients
ALL_REQUESTS = 10**9
MOST_TOKENS = 10**12

WIDEST = 8192  # pixels of an image
MOST_PERCENTILES = 8  # or a table has no room


@attrs.frozen
class RawRateStep:
    seconds: Wait
    rate: Rate | None = None
    concurrency: Clients | None = None
    to: Rate | None = None


@attrs.frozen
class RawScenario:
    requests: tuple[LoadRequest, ...]
    targets: Targets | None = None
    url: Address | None = None
    rate: Rate | None = None
    steps: tuple[RawRateStep, ...] | None = None
    spacing: Spacing = "even"
    burstiness: Burstiness | None = None
    burst: Burst | None = None
    concurrency: Clients | None = None
    trace: FilePath | None = None
    speed: Speed = AS_RECORDED
    find_rate: bool = False
    find_concurrency: bool = False
    max_rate: Rate | None = None
    max_concurrency: Count | None = None
    repeat: Count = ONCE
    seconds: Wait | None = None
    count: Number | None = None
    max_tokens: TokenCount | None = None
    warmup: Duration = AT_ONCE
    grace: Duration = GRACE
    timeout: Wait = PATIENCE
    idle: Wait | None = None
    deadline: Wait | None = None
    respect_retry_after: bool = False
    connections: Literal["keep", "new"] = "keep"
    http: HttpVersion = HTTP_1
    streams_per_connection: StreamCount = STREAMS
    resend: bool = True
    dns_ttl: Duration = AT_ONCE
    key_env: str | None = None
    headers: dict[str, Secret] = attrs.field(factory=dict)
    strict: bool = False
    fail_if: Conditions = NO_CONDITIONS
    until: EarlyConditions = NO_EARLY_ONES
    slo: Objectives = NO_OBJECTIVES
    seed: Count = SEED
    processes: Processes = ONE
    probe: Rate | None = None
    percentiles: Percentiles = PERCENTILES
    same_prompts: bool = False


def _number(value: Any, most: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Wrong(describe(value), f"this must be {what}")
    return float(value)


def _share(value: Any, _: Any) -> float:
    what = "a share such as 10% or 0.1"
    if isinstance(value, str):
        found = re.fullmatch(r"(\d{1,2}(?:\.\d{1,6})?|100)\s*%", value)
        if found is None:
            raise Wrong(describe(value), f"this must be {what}")
        return float(found[1]) / 100
    return _number(value, 1, what)


def _rate(value: Any, _: Any) -> float:
    return _number(value, MOST, f"a number, 0 or more and at most {MOST}")


def _speed(value: Any, _: Any) -> float:
    what = "a number above 0: 2 is twice as fast as recorded"
    speed = _number(value, 10**6, what)
    if not speed:
        raise Wrong(describe(value), f"this must be {what}")
    return speed


def _lengths(value: Any, _: Any) -> Lengths:
    return read_lengths(value)


def _prefixes(value: Any, _: Any) -> SharedPrefixes:
    return read_prefixes(value)


def _file_path(value: Any, _: Any) -> Path:
    text: str = converter.structure(value, str)
    if not text.strip():
        raise Wrong("an empty name", "give the path of a file")
    return Path(text)


def _image_size(value: Any, _: Any) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×]\s*(\d{1,5})\s*", value) if isinstance(value, str) else None
    if found is None or not all(1 <= int(side) <= WIDEST for side in found.groups()):
        raise Wrong(describe(value), f"this must be a width and a height in pixels, 1 to {WIDEST}, such as 512x512")
    return int(found[1]), int(found[2])


def percentiles_in(value: Any, _: Any = None) -> tuple[float, ...]:
    """Percentiles in a list, or in a text with commas between them. Raises ``Wrong``."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    found = [re.fullmatch(r"\s*p?(\d{1,2}(?:\.\d{1,4})?)\s*", str(part)) for part in parts]
    good = {float(match[1]) for match in found if match}
    if not good or not all(found) or len(good) > MOST_PERCENTILES:
        what = f"this must be percentiles below 100, {MOST_PERCENTILES} at most, as in 50,90,99.9"
        raise Wrong(describe(value), what)
    return tuple(sorted(good))


def _address(value: Any, _: Any) -> str:
    try:
        return converter.structure(value, Url)
    except Wrong as error:
        if error.found == USER_NAME:
            raise Wrong(USER_NAME, "give the key by --key-env NAME (key_env), or put it into headers") from None
        if type(value) is str and (better := _wrong_url(value)) is not None:
            raise better from None
        if type(value) is str and error.found == describe(value):  # what came from a variable is not repeated anyway
            raise Wrong(describe(shown(value)), error.expected) from None
        raise


def _wrong_url(text: str) -> Wrong | None:
    """What is wrong with a URL, where that can be said better than that it is none."""
    if "#" in text:
        return Wrong("a URL with a fragment (#…)", "leave that out: no server is sent it")
    port = re.fullmatch(r"https?://[^/?#@]*?:(\d+)(?:[/?].*)?", text)
    if port is not None and not 1 <= int(port[1]) <= 65535:
        return Wrong(describe(shown(text)), "its port must be 1 to 65535")
    if re.fullmatch(r"(?:[\w-]+(?:\.[\w-]+)*|\[[\da-fA-F:]+\])(?::\d{1,5})?(?:[/?].*)?", text):
        return Wrong(f"{describe(shown(text))}: a URL without http://", "", f"http://{shown(text)}")
    return None


def _targets(value: Any, _: Any) -> dict[str, Address]:
    return converter.structure(value, dict[str, Address])


def _texts(kind: Any, read: Callable[[str], object]) -> Callable[[Any, Any], tuple[str, ...]]:
    """One text, a list of them, or a mapping of the parts of the load that they are about."""

    def structure(value: Any, _: Any) -> tuple[str, ...]:
        if isinstance(value, list | tuple):
            lists: tuple[tuple[str, ...], ...] = converter.structure(value, tuple[kind, ...])
            return tuple(text for texts in lists for text in texts)
        if isinstance(value, dict):
            named: dict[str, tuple[str, ...]] = converter.structure(value, dict[str, kind])
            return tuple(f"{name}: {text}" for name, texts in named.items() for text in texts)
        text = converter.structure(value, str)
        try:
            read(text)
        except NoCondition as error:
            raise Wrong(error.found, error.expected) from None
        return (text,)

    return structure


def _whole(most: int, what: str) -> Callable[[Any, Any], int]:
    def structure(value: Any, _: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise Wrong(describe(value), f"this must be {what}, 1 to {most}")
        return value

    return structure


_TOKEN_COUNT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kM]?)")


def _token_count(value: Any, _: Any) -> int:
    found = _TOKEN_COUNT.fullmatch(value if isinstance(value, str) else str(value))
    count = round(float(found[1]) * {"": 1, "k": 10**3, "M": 10**6}[found[2]]) if found else 0
    if isinstance(value, bool) or not 1 <= count <= MOST_TOKENS:
        raise Wrong(describe(value), f"this must be a number of tokens such as 50000 or 2M, 1 to {MOST_TOKENS}")
    return count


def _leaving(value: Any, _: Any) -> Any:
    """A time, or tokens."""
    found = re.fullmatch(r"\s*([0-9]{1,7})\s*tokens?\s*", value) if isinstance(value, str) else None
    if found is not None and int(found[1]):
        return TokensSeen(int(found[1]))
    try:
        return converter.structure(value, Duration)
    except Wrong as error:
        raise Wrong(error.found, "this must be a time such as 2s, or tokens such as 20 tokens") from None


_HOOKS: Mapping[Any, Callable[[Any, Any], Any]] = {
    Share: _share,
    Rate: _rate,
    Speed: _speed,
    Lengths: _lengths,
    SharedPrefixes: _prefixes,
    FilePath: _file_path,
    ImageSize: _image_size,
    Address: _address,
    Targets: _targets,
    Conditions: _texts(Conditions, parse),
    EarlyConditions: _texts(EarlyConditions, early),
    Objectives: _texts(Objectives, objectives),
    Number: _whole(ALL_REQUESTS, "a number of requests"),
    Clients: _whole(MOST, "a number of clients"),
    TokenCount: _token_count,
    Duration | TokensSeen: _leaving,
    Percentiles: percentiles_in,
}
for _kind, _hook in (*_HOOKS.items(), *TURN_HOOKS.items()):
    converter.register_structure_hook(_kind, _hook)
