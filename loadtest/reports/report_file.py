"""The JSON report, with the results of one run or of several."""

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
from loadtest.plan.comparison import UnknownPart
from streams.surrogates import NOT_JSON

_SUFFIX: Final = ".part"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically: readers find the old content or the new.

    Anything but a plain file (``/dev/stdout``, a pipe) is written directly. Raises ``OSError``, and then leaves no
    temporary file.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    place = path.resolve()  # keeps a symbolic link
    beside = place.with_name(f".{place.name}.{os.getpid()}{_SUFFIX}")
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


class InvalidReport(Exception):
    """A file is not a report. The message has its path and the reason."""


@attrs.frozen
class ReadReport:
    """The content of a report: its runs, the name of its log (or ""), and its ``part`` of a plan."""

    runs: tuple[RunResult, ...]
    log: str = ""
    part: Mapping[str, Any] | None = None


def dump(
    runs: Sequence[RunResult],
    log: str = "",
    verdicts: Sequence[ConditionVerdict] = (),
    part: Mapping[str, Any] | None = None,
    version: str = "",
) -> bytes:
    """Return the JSON of a report. Times are in seconds.

    ``log`` is the name of the request log, ``verdicts`` are the verdicts on the conditions, ``part`` is the part of a
    plan, and ``version`` that of the load tester.
    """
    value = {
        "trigate": version,
        "format": FORMAT,
        **({"log": log} if log else {}),
        **({"part": part} if part else {}),
        "conditions": [one.dump() for one in verdicts],
        "runs": [_dump_run(run) for run in runs],
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def _dump_run(run: RunResult) -> dict[str, Any]:
    value, said = run.dump(), list(notes(run))
    return value | {"notes": said, "loader": value["loader"] | {"notes": said}}


def load(path: Path) -> tuple[RunResult, ...]:
    """Return the runs in a report. Raises ``InvalidReport``."""
    return read(path).runs


def read(path: Path) -> ReadReport:
    """Return the content of a report. Raises ``InvalidReport``."""
    try:
        value = plain_value(msgspec.json.decode(path.read_bytes()))  # the file may come from another person
        if value["format"] not in READABLE:
            raise InvalidReport(f"{path} has the report format {value['format']}, but this version reads {FORMAT}")
        part = value.get("part")
        runs = tuple(RunResult.load(run) for run in value["runs"])
        return ReadReport(runs, str(value.get("log") or ""), None if part is None else dict(part))
    except OSError as error:
        raise InvalidReport(f"{path}: cannot be read: {(error.strerror or 'unreadable').lower()}") from error
    except (*MISREAD, *NOT_JSON) as error:
        raise InvalidReport(f"{path} is not a report of trigate load --json") from error


@contextlib.contextmanager
def reject_misread(*paths: Path) -> Iterator[None]:
    """Convert a failure to show these reports to ``InvalidReport``.

    Their plans are not validated before, and may be forged.
    """
    try:
        yield
    except UnknownPart:
        raise
    except MISREAD as error:
        files = " or ".join(map(str, paths))
        raise InvalidReport(f"{files}: the report has an invalid value ({error})") from error


def side_by_side(
    before: Sequence[RunResult], after: Sequence[RunResult], names: tuple[str, str]
) -> tuple[RunResult, ...]:
    """Return the runs of two reports as those of one, those of a target next to each other, labelled with
    ``names``."""
    labels = names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")
    single = len(before) == len(after) == 1
    marked = [
        (run.target, attrs.evolve(run, target=label if single else f"{run.name} {label}"))
        for label, runs in zip(labels, (before, after), strict=True)
        for run in runs
    ]
    order = list(dict.fromkeys(target for target, _ in marked))
    return tuple(run for _, run in sorted(marked, key=lambda pair: order.index(pair[0])))
