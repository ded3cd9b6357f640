"""Measures the cost of requests and streams: the CPU time of the gateway's processes per request.

    python bench/run.py                      # the table of docs/performance.md
    python bench/run.py --growth             # how cost grows
    python bench/run.py --crowd              # a thousand concurrent streams: memory and lateness of events
    python bench/run.py --peer 'NAME=COMMAND with {port} and {provider}'

Everything runs on 127.0.0.1. On Linux the gateway has the first core for itself, and the others run on the second. Only
compare figures of one run.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import crowd
import growth
from cases import CASES, Case
from servers import Standing, capable, cpu, memory, raise_file_limit, run_servers

HEADS = ("case", "", "CPU ms", "µs an event", "a second", "p50 ms", "p99 ms", "MiB", "start s")


class Cost(NamedTuple):
    """The cost of a case. ``cpu_event`` is ``None`` for an answer without a stream."""

    case: str
    server: str
    cpu_ms: float
    cpu_event: float | None
    rate: float
    p50_ms: float
    p99_ms: float
    memory: float
    start: float


def measure(stand: Standing, seconds: float) -> Cost:
    before = cpu(stand.pid)
    told = stand.load(seconds)
    used = (cpu(stand.pid) - before) / told["done"]
    each = used / (stand.case.events + 3) * 1e6 if stand.case.stream else None
    late, rate = (told["p50"] * 1000, told["p99"] * 1000), told["done"] / told["seconds"]
    return Cost(stand.case.name, stand.server, used * 1000, each, rate, *late, memory(stand.pid), stand.start)


def compare_servers(case: Case, servers: Sequence[str], rounds: int, seconds: float) -> list[Cost]:
    """Return the cheapest round of each server. The servers run simultaneously and take turns."""
    with contextlib.ExitStack() as stack:
        stands = [stack.enter_context(run_servers(case, server)) for server in servers]
        for stand in stands:
            stand.load(seconds)  # warm
        found = [[measure(stand, seconds) for stand in stands] for _ in range(rounds)]
    return [min(column, key=lambda one: one.cpu_ms) for column in zip(*found, strict=True)]


def row(one: Cost) -> list[str]:
    each = "-" if one.cpu_event is None else f"{one.cpu_event:.0f}"
    rest = f"{one.rate:.0f}", f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", f"{one.memory:.0f}", f"{one.start:.2f}"
    return [one.case, one.server, f"{one.cpu_ms:.2f}", each, *rest]


# Output


def head(words: Sequence[str]) -> None:
    print("| " + " | ".join(words) + " |\n" + "|---" * len(words) + "|", flush=True)


def line(cells: Iterable[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def choose_cases(given: argparse.Namespace, names: Sequence[str]) -> Sequence[str]:
    """Return the requested cases, or all of them."""
    asked = given.cases.split(",") if given.cases else names
    if unknown := set(asked) - set(names):
        sys.exit(f"No case is called {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    return asked


def costs(given: argparse.Namespace) -> Iterator[Any]:
    names = choose_cases(given, [case.name for case in CASES])
    head(HEADS)
    for case in CASES:
        if case.name in names:
            for one in compare_servers(case, capable(case, given.peer), given.rounds, given.seconds):
                line(row(one))
                yield one._asdict()


def print_growth(given: argparse.Namespace) -> Iterator[Any]:
    head(growth.HEADS)
    names = choose_cases(given, growth.NAMES)
    for one in growth.growths(names, given.streams or growth.STREAMS, given.rounds, given.seconds):
        line(one.row())
        yield {"title": one.title, "points": one.points, **one.line._asdict()}


def print_crowd(given: argparse.Namespace) -> Iterator[Any]:
    head(crowd.HEADS)
    for one in crowd.crowds(given.crowd, given.peer, given.rounds, given.seconds):
        line(crowd.row(one))
        yield {**one._asdict(), "beginning": one.beginning._asdict(), "steady": one.steady._asdict()}


ROUNDS = {
    costs: (5, 0.6),
    print_growth: (12, 0.3),
    print_crowd: (5, 2.0),
}  # and their seconds


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--growth", action="store_true", help="how cost grows")
    what.add_argument("--crowd", type=int, nargs="?", const=1000, metavar="N", help="so many concurrent streams")
    parser.add_argument("--cases", default="", help="names, with commas between them; also of --growth")
    parser.add_argument("--peer", action="append", default=[], help="another server to measure beside")
    parser.add_argument("--rounds", type=int, help="short repetitions, of which the best counts")
    parser.add_argument("--seconds", type=float, help="of each round")
    parser.add_argument("--streams", type=numbers, help="of --growth, with commas")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    given = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("It reads what processes use from Linux's /proc: run it on Linux.")
    raise_file_limit()
    kind = print_growth if given.growth else print_crowd if given.crowd else costs
    rounds, seconds = ROUNDS[kind]
    given.rounds, given.seconds = given.rounds or rounds, given.seconds or seconds
    found = list(kind(given))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
