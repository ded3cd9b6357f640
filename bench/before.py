"""Compares the cost of this tree with another revision: both serve simultaneously and take turns.

    python bench/before.py REVISION                    # such as v0.2.0; some five minutes
    python bench/before.py REVISION --cases unary,start --rounds 20

The revision gets a worktree and a virtual environment in a temporary folder. Each row has the medians of both, and
their ratio by rounds: the median and the quartiles. The verdict is noise if equal programs would give such rounds in
more than 5 % of all comparisons (a sign test, so fewer than six rounds are always noise), or if the ratio is within
2 %.
"""

import argparse
import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cases import CASES, Case
from comparison import Comparison
from run import choose_cases, head, line, measure
from servers import Standing, cpu, memory, run_servers

ROOT = Path(__file__).parents[1]
HEADS = ("case", "this tree", "before", "ratio", "middle half", "verdict")
REQUESTS = ("unary", "unary-translated", "burst", "burst-translated", "big", "paced", "paced-translated")
START = "start", "start CPU", "memory"


@contextlib.contextmanager
def servers(revision: str, python: Path | None, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the commands of this tree and of ``revision``.

    Both have their bytecode after one start, as installed packages do. ``python`` has the dependencies of the revision;
    ``None`` means a new environment.
    """
    tree = folder / "tree"
    subprocess.run(["git", "-C", ROOT, "worktree", "add", "-q", "--detach", tree, revision], check=True)
    try:
        if python is None:
            subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
            python = folder / "venv/bin/python"
            install = ["install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", "requirements.txt"]
            subprocess.run([python, "-m", "pip", *install], check=True, cwd=tree)
        yield command("this", Path(sys.executable), ROOT, folder), command("before", python, tree, folder)
    finally:
        subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=False)


def command(name: str, python: Path, tree: Path, folder: Path) -> str:
    settings = f"PYTHONPATH={tree} PYTHONPYCACHEPREFIX={folder / name}"
    words = ["env", "-u", "PYTHONDONTWRITEBYTECODE", *settings.split(), str(python), "-P", "-m", "gateway", "serve"]
    return f"{name}={shlex.join(words)} {{config}} --workers 1"


def in_turns(commands: Sequence[str], round: int) -> Sequence[str]:
    """Return ``commands`` with another one first in each round."""
    return commands if round % 2 == 0 else commands[::-1]


def requests(case: Case, commands: Sequence[str], rounds: int, seconds: float) -> Comparison:
    """Compare the CPU time of requests. Both servers run throughout."""
    with contextlib.ExitStack() as stack:
        stands = [stack.enter_context(run_servers(case, one)) for one in commands]
        for stand in stands:
            stand.load(seconds)  # warm
        found: list[Mapping[str, float]] = []
        for round in range(rounds):
            turns = stands if round % 2 == 0 else stands[::-1]
            found.append({stand.server: measure(stand, seconds).cpu_ms for stand in turns})
    return Comparison(case.name, "ms", *(tuple(one[name] for one in found) for name in ("this", "before")))


def starts(commands: Sequence[str], rounds: int) -> Iterator[Comparison]:
    """Compare the time to the first response, the CPU time that it takes, and the memory after a load."""
    found: list[Mapping[str, Sequence[float]]] = []
    for round in range(rounds + 1):
        values = {one.partition("=")[0]: measure_start(one) for one in in_turns(commands, round)}
        if round:  # the first writes the bytecode
            found.append(values)
    for at, (name, unit) in enumerate(zip(START, ("s", "s", "MiB"), strict=True)):
        both = (tuple(one[server][at] for one in found) for server in ("this", "before"))
        yield Comparison(name, unit, *both)


def measure_start(command: str) -> tuple[float, float, float]:
    """Start a server, and return the seconds to its first response, the CPU time of those, and MiB after a load."""
    with run_servers(CASES[0], command) as stand:
        begun = time.monotonic()
        first_response(stand)
        taken, used = stand.start + time.monotonic() - begun, cpu(stand.pid)
        stand.load(0.5)
        return taken, used, memory(stand.pid)


def first_response(stand: Standing) -> None:
    """Wait for the first byte that the server sends."""
    with socket.create_connection(("127.0.0.1", stand.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert connection.recv(1)


def compared(given: argparse.Namespace, commands: Sequence[str]) -> Iterator[Comparison]:
    names = choose_cases(given, (*REQUESTS, "start"))
    for case in CASES:
        if case.name in names:
            yield requests(case, commands, given.rounds, given.seconds)
    if "start" in names:
        yield from starts(commands, given.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="what git calls it: a tag, a branch, a commit")
    parser.add_argument("--cases", default="", help=f"of {', '.join(REQUESTS)} and start, with commas between them")
    parser.add_argument("--rounds", type=int, default=11, help="of each case")
    parser.add_argument("--seconds", type=float, default=0.6, help="of each round")
    parser.add_argument("--python", type=Path, help="an interpreter with the dependencies of the revision")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    given = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("It reads what processes use from Linux's /proc: run it on Linux.")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        with servers(given.revision, given.python, Path(folder)) as commands:
            head(HEADS)
            for one in compared(given, commands):
                line(one.row())
                found.append({**one._asdict(), "verdict": one.verdict})
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
