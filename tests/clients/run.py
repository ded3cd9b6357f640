"""The client matrix: real programs at pinned versions, through the real gateway, to a provider of each API.

``python tests/clients/run.py [CLIENT …]`` installs missing programs, runs each client, and prints a line for each
cell; a CLIENT is the beginning of a row's name. A cell works if both sessions end with the words that only the tools
know, clients that show thinking showed some, the gateway rejected nothing, and each stream obeyed its API's grammar.
"""

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import paths  # noqa: F401  # makes the next modules importable

from tests.clients import install, table
from tests.clients.recorder import Recorder, recording
from tests.clients.rows import ROWS, Answers, Failed, Place, Row
from tests.support.harness import Gateway, running
from tests.support.stand_in import ENTRIES, WORDS, StandIn
from tests.support.upstreams import serve_upstream


@attrs.frozen
class Cell:
    """A cell of the matrix; ``trouble`` is empty if it works."""

    client: str
    mode: str
    upstream: str
    trouble: str
    seconds: float

    @property
    def line(self) -> str:
        outcome = self.trouble or "works"
        return f"{self.client:26} {self.mode:6} before {self.upstream:9} {self.seconds:5.1f} s  {outcome}"


def main() -> int:
    wanted = arguments()
    rows = [row for row in ROWS.values() if not wanted.client or any(row.name.startswith(n) for n in wanted.client)]
    if not rows:
        print(f"no such client; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    _install(rows)
    cells = []
    for cell in try_all(rows, wanted.upstream or ENTRIES, wanted.record):
        cells.append(cell)
        print(cell.line, file=sys.stderr if wanted.json else sys.stdout, flush=True)
    if wanted.json:
        print(json.dumps([attrs.asdict(cell) for cell in cells], indent=1))
    if wanted.table:
        table.write(wanted.table, rows, cells)
    return 1 if any(cell.trouble for cell in cells) else 0


def try_all(rows: Sequence[Row], apis: Iterable[str], folder: Path | None) -> Iterator[Cell]:
    """Yield the cells, run one by one on the same gateway; ``folder`` gets recordings of the streams."""
    with serve_upstream(StandIn) as upstream, matrix_gateway(upstream) as gateway, recording(gateway.port) as recorder:
        for row, api in itertools.product(rows, apis):
            for mode in row.modes:
                yield try_cell(row, mode, api, upstream, gateway, recorder)
                if folder is not None and mode == "stream":
                    recorder.write(folder / f"{row.name}.{api}.json")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", nargs="*", help=f"beginnings of: {', '.join(ROWS)}; all without")
    parser.add_argument("--upstream", action="append", choices=[*ENTRIES], help="only this upstream")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--table", type=Path, help="write the table into this page")
    parser.add_argument("--record", type=Path, help="keep what clients and gateway say in this folder, as it is")
    wanted = parser.parse_args()
    if wanted.table and (wanted.client or wanted.upstream):
        parser.error("--table is for all clients and upstreams: it replaces the whole table")
    return wanted


def _install(rows: Sequence[Row]) -> None:
    for place in {row.lives for row in rows}:
        if place == "node":
            install.node()
        else:
            install.python(place)


@contextlib.contextmanager
def matrix_gateway(upstream: StandIn) -> Iterator[Gateway]:
    settings, port = upstream.settings()
    with running(settings, port, "--check-streams") as gateway:
        yield gateway


def try_cell(row: Row, mode: str, api: str, upstream: StandIn, gateway: Gateway, recorder: Recorder) -> Cell:
    upstream.seen.clear()
    upstream.refused.clear()
    recorder.exchanges.clear()
    logged, since = len(gateway.log), time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        (home / "work").mkdir()
        for box, word in WORDS.items():
            (home / f"work/{box}.txt").write_text(f"There is {word} in it.\n")
        try:
            told = row.drive(Place(recorder.url, f"on-{api}", home, mode))
            trouble = find_trouble(row, told)
        except Failed as failed:
            trouble = str(failed)
    complaints = [*upstream.refused, *(line for line in gateway.log[logged:] if is_complaint(line))]
    if complaints:
        trouble = f"{trouble}; {complaints[0]}".removeprefix("; ")
    return Cell(row.name, mode, api, trouble[:1000], round(time.monotonic() - since, 1))


def find_trouble(row: Row, told: Answers) -> str:
    for name, text in (("first", told.first), ("second", told.second)):
        if not all(word in text for word in WORDS.values()):
            return f"the {name} session ended with {text[-200:]!r}"
    if "Again" not in told.second:
        return f"the second session did not go on from the first: {told.second[-200:]!r}"
    if row.thinks and not told.thoughts:
        return "no thinking was shown"
    return ""


def is_complaint(line: str) -> bool:
    """Return whether a line of the gateway's log is about anything but a successful exchange."""
    if not line.startswith("{"):
        return "Traceback" in line
    entry = json.loads(line)
    return entry.get("event") != "exchange" and entry.get("level") not in (None, "info")


if __name__ == "__main__":
    sys.exit(main())
