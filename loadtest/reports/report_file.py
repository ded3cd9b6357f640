"""The JSON report, and files that are written atomically."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.rounds import ComparedFigure, verdict_of
from loadtest.plan.limits import ConditionVerdict

FORMAT: Final = 3


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically: readers find the old content or the new.

    Anything but a plain file (``/dev/stdout``, a pipe) is written directly. Raises ``OSError``, and then leaves no
    temporary file.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    place = path.resolve()  # keeps a symbolic link
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        if place.exists():
            beside.chmod(place.stat().st_mode & 0o777)
        beside.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def dump(
    runs: Sequence[RunResult],
    verdicts: Sequence[ConditionVerdict] = (),
    compared: Sequence[ComparedFigure] | None = None,
    version: str = "",
) -> bytes:
    """Return the JSON of a report. Times are in seconds. ``version`` is that of the load tester."""
    value = {
        "trigate": version,
        "format": FORMAT,
        "conditions": [one.dump() for one in verdicts],
        "runs": [run.dump() | {"notes": list(notes(run))} for run in runs],
    }
    if compared is not None:
        value["comparison"] = {"verdict": verdict_of(compared), "figures": [one.dump() for one in compared]}
    return msgspec.json.format(msgspec.json.encode(value), indent=1)
