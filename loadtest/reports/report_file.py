"""The file that holds the results of one run or of several."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from loadtest.exchange.plain_text import plain_value
from loadtest.figures.conditions import ConditionVerdict
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.plan.comparison import NoPart

_BESIDE: Final = ".part"


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file, then take its place: who reads it meanwhile finds the old one, or the new one. What is no
    plain file (``/dev/stdout``, a pipe) is written to as it is. Raises ``OSError``, and leaves nothing then."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    place = path.resolve()  # a link stays one
    beside = place.with_name(f".{place.name}.{os.getpid()}{_BESIDE}")
    try:
        beside.write_bytes(data)
        if place.exists():
            beside.chmod(place.stat().st_mode & 0o777)
        beside.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


FORMAT = 2
READABLE = (1, 2)


MISREAD: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


class NoReport(Exception):
    """A file is no report; the message says which, and why."""


@attrs.frozen
class ReadReport:
    """The content of a report: its runs, the name of its log ("" without one) and its ``part`` of a plan."""

    runs: tuple[RunResult, ...]
    log: str = ""
    part: Mapping[str, Any] | None = None


def dump(
    runs: Sequence[RunResult],
    log: str = "",
    told: Sequence[ConditionVerdict] = (),
    part: Mapping[str, Any] | None = None,
    version: str = "",
) -> bytes:
    """The JSON of a report; times are in seconds. ``log`` names the file with a line for each request, ``told`` has
    what became of the conditions, ``part`` the part of a plan that it is about, ``version`` that of the load tester."""
    value = {
        "trigate": version,
        "format": FORMAT,
        **({"log": log} if log else {}),
        **({"part": part} if part else {}),
        "conditions": [one.dump() for one in told],
        "runs": [_dumped(run) for run in runs],
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def _dumped(run: RunResult) -> dict[str, Any]:
    value, said = run.dump(), list(notes(run))
    return value | {"notes": said, "loader": value["loader"] | {"notes": said}}


def load(path: Path) -> tuple[RunResult, ...]:
    """The runs in a file that ``dump`` wrote. Raises ``NoReport``."""
    return read(path).runs


def read(path: Path) -> ReadReport:
    """The content of a file that ``dump`` wrote. Raises ``NoReport``."""
    try:
        value = plain_value(msgspec.json.decode(path.read_bytes()))  # it may be somebody else's
        if value["format"] not in READABLE:
            raise NoReport(f"{path}: a report of format {value['format']}; this version reads {FORMAT}")
        part = value.get("part")
        runs = tuple(RunResult.load(run) for run in value["runs"])
        return ReadReport(runs, str(value.get("log") or ""), None if part is None else dict(part))
    except OSError as error:
        raise NoReport(f"{path}: cannot be read: {(error.strerror or 'unreadable').lower()}") from error
    except (msgspec.MsgspecError, *MISREAD) as error:
        raise NoReport(f"{path}: this is no report of trigate load --json") from error


@contextlib.contextmanager
def shown(*paths: Path) -> Iterator[None]:
    """Take a failure to show what was read for a mistake in these files: their plans are not looked at before that, and
    anybody may have written them. Raises ``NoReport``."""
    try:
        yield
    except NoPart:
        raise
    except MISREAD as error:
        files = " or ".join(map(str, paths))
        raise NoReport(f"{files}: it has a value that no report of trigate load has ({error})") from error


def compared(before: Sequence[RunResult], after: Sequence[RunResult], names: tuple[str, str]) -> tuple[RunResult, ...]:
    """The runs of two reports as those of one: each two of one target side by side, told apart by ``names``."""
    labels = names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")
    single = len(before) == len(after) == 1
    marked = [
        (run.target, attrs.evolve(run, target=label if single else f"{run.name} {label}"))
        for label, runs in zip(labels, (before, after), strict=True)
        for run in runs
    ]
    order = list(dict.fromkeys(target for target, _ in marked))
    return tuple(run for _, run in sorted(marked, key=lambda pair: order.index(pair[0])))
