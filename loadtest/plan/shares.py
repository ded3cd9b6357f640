"""Divides a plan into shares: among the processes of a machine, and among several machines."""

import os
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias

import attrs

from configfile.keys import Kind
from configfile.wording import Wrong, describe

MOST: Final = 256
MOST_PARTS: Final = 10_000


@attrs.frozen
class PlanShare:
    """The share of a plan that one process sends: the sessions or clients whose number modulo ``of`` is ``index``.

    Each process computes the whole plan, so that random values agree.
    """

    index: int = 0
    of: int = 1

    def contains(self, number: int) -> bool:
        return number % self.of == self.index

    def count(self, number: int) -> int:
        """Return the number of sessions, clients or positions below ``number`` in the share."""
        return len(range(self.index, number, self.of))

    def divide(self, index: int, among: int) -> "PlanShare":
        """Return one of the equal parts of this share."""
        return PlanShare(self.index + self.of * index, self.of * among)

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.of}"


ALL: Final = PlanShare()
"""The whole plan."""


# The processes of a machine


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def parse_processes(value: Any) -> int:
    """Parse a number, or ``auto``: one less than the number of cores, which leaves one free."""
    if value == "auto":
        return max(1, available_cores() - 1)
    number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,4}", value) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MOST:
        raise Wrong(
            describe(number), f"expected a number of processes, 1 to {MOST}, or auto, the number of cores minus one"
        )
    return number


Processes: TypeAlias = Annotated[int, Kind("a number of processes", parse_processes)]


# The parts of several machines


def parse_part(text: str) -> PlanShare:
    """Parse ``2/5``, the second of five parts. Raises ``Wrong``."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*/\s*(\d{1,5})\s*", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= MOST_PARTS:
        raise Wrong(describe(text), f"expected a part and the number of parts, such as 2/5; at most {MOST_PARTS}")
    return PlanShare(int(found[1]) - 1, int(found[2]))


def parse_start(text: str) -> float:
    """Parse a time with its zone, or Unix seconds. Returns Unix seconds. Raises ``Wrong``."""
    try:
        if re.fullmatch(r"\s*\d{9,11}(\.\d{1,6})?\s*", text):
            return float(text)
        found = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Wrong(describe(text), "expected a time with its zone, such as 2026-11-23T12:00:00Z, or Unix seconds")
    return found.timestamp()


def format_start(start_at: float) -> str:
    """Return a start time in UTC for people."""
    return datetime.fromtimestamp(start_at, UTC).isoformat().replace("+00:00", "Z")
