"""Measures whether many keys, models or rows of the ledger make starts, reloads and requests more expensive.

    python bench/sizes.py                  # some three minutes

The first row is a gateway with one key, one model and an empty ledger. Each other row has more of one thing. Starts and
requests are measured in turns. A figure is the median of the CPU time, the ratio in brackets that to the first row.
"""

import argparse
import contextlib
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from before import first_response
from cases import CASES
from growth import cost
from run import head, line
from servers import CONFIG, Standing, cpu, run_servers

HEADS: Final = ("what there is", "start, s", "reload, s", "request, ms")
CALM: Final = 0.7
"""Seconds without work after which a reload is over."""


class Size(NamedTuple):
    """A row of the table: the numbers of keys in the file, stored keys, models and rows of the ledger."""

    name: str
    keys: int = 0
    stored: int = 0
    models: int = 0
    rows: int = 0

    def settings(self, folder: Path) -> str:
        """Return the configuration, with the places that ``run_servers`` fills."""
        models = "".join(f"{{model: mistral/other-{n}, access_key: sk-bench}}, " for n in range(self.models))
        lines = (
            f"state_storage: {{type: sqlite, path: {folder / 'state.sqlite'}}}",
            "stored_keys: true",
            *clients(self.keys),
            "  - {name: bench, key: x}",
        )
        first = CONFIG.replace("model_providers: [", f"model_providers: [{escape_braces(models)}")
        return first + escape_braces("\n".join(lines)) + "\n"

    def fill(self, folder: Path) -> None:
        """Store the keys, and copies of one exchange as the rows of the ledger, one in every 20 seconds until now."""
        settings = self.settings(folder)
        if self.stored:
            config, keys = folder / "trigate.yaml", folder / "keys.yaml"
            config.write_text(settings.format(port=1, provider=1))
            keys.write_text("\n".join(clients(self.stored)))
            words = [sys.executable, "-m", "gateway", "keys", "import", "--config", str(config), str(keys)]
            subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
        if self.rows:
            with run_servers(CASES[0], settings=settings) as stand:
                stand.load(0.1)
            with contextlib.closing(sqlite3.connect(folder / "state.sqlite")) as ledger, ledger:
                names = [name for _, name, *_ in ledger.execute("PRAGMA table_info(ledger)")]
                values = ", ".join(names).replace("began", "began - 20000000 * n")
                numbers = (
                    f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT {self.rows})"
                )
                one = "(SELECT * FROM ledger ORDER BY began LIMIT 1)"
                ledger.execute(f"{numbers} INSERT INTO ledger SELECT {values} FROM numbers, {one}")


def escape_braces(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def sizes(keys: int, models: int, rows: int) -> Sequence[Size]:
    return (
        Size("one key, one model"),
        Size(f"{keys:,} keys in the file", keys=keys),
        Size(f"{keys:,} stored keys", stored=keys),
        Size(f"{models:,} models", models=models),
        Size(f"{rows:,} rows in the ledger", rows=rows),
    )


def clients(count: int) -> Iterator[str]:
    yield "client_keys:"
    for n in range(count):
        yield f"  - {{name: client-{n}, key: sk-bench-{n:024}, ratelimits: {{requests: 100k/m}}}}"


# Measurement


def start(settings: str) -> float:
    """Return the CPU seconds until a gateway's first response."""
    with run_servers(CASES[0], settings=settings) as stand:
        first_response(stand)
        return cpu(stand.pid)


def reload(stand: Standing) -> float:
    """Return the CPU seconds of a reload."""
    before = cpu(stand.pid)
    os.kill(stand.pid, signal.SIGHUP)
    seen, now = -1.0, before
    while now - seen > CALM / 20:
        time.sleep(CALM)
        seen, now = now, cpu(stand.pid)
    return now - before


def request_cost(stand: Standing, seconds: float) -> float:
    """Return the CPU milliseconds of a request."""
    return cost(stand, seconds) * 1000


def in_rounds(rounds: int, measures: Sequence[Callable[[], float]]) -> list[list[float]]:
    """Return the values of each measure, which take turns. The first round is not counted."""
    found = [[measure() for measure in measures] for _ in range(rounds + 1)]
    return [list(column) for column in zip(*found[1:], strict=True)]


def measure(rows: Sequence[Size], rounds: int, seconds: float) -> Mapping[str, list[list[float]]]:
    """Return the values of each row by the head of its column."""
    with contextlib.ExitStack() as stack:
        settings = []
        for size in rows:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            size.fill(folder)
            settings.append(size.settings(folder))
        starts = in_rounds(rounds, [partial(start, text) for text in settings])
        stands = [stack.enter_context(run_servers(CASES[0], settings=text)) for text in settings]
        reloads = in_rounds(rounds, [partial(reload, stand) for stand in stands])
        requests = in_rounds(rounds, [partial(request_cost, stand, seconds) for stand in stands])
    return dict(zip(HEADS[1:], (starts, reloads, requests), strict=True))


def cell(values: Sequence[float], first: Sequence[float]) -> str:
    ratio = statistics.median(this / other for this, other in zip(values, first, strict=True))
    return f"{statistics.median(values):.2f} ({ratio:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.6, help="of requests in a round")
    given = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("It reads what processes use from Linux's /proc: run it on Linux.")
    rows = sizes(given.keys, given.models, given.rows)
    found = measure(rows, given.rounds, given.seconds)
    head(HEADS)
    for at, size in enumerate(rows):
        line([size.name, *(cell(values[at], values[0]) for values in found.values())])


if __name__ == "__main__":
    main()
