"""A search as it goes on: a line for each load that was tried."""

import math
import textwrap
from typing import Final, TextIO

from loadtest.plan.asked_loads import RESOLUTION, SearchBounds
from loadtest.run.search import Trial
from loadtest.run.search_report import SearchStep, head

WIDTH: Final = 79
_WIDTHS: Final = (8, 7, 7, 8, 8)


class SearchLines:
    """Writes to ``out``; on a terminal also what is tried just now, in a line that the result takes the place of."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bounds: SearchBounds
        self._headed = False

    def begins(self, bounds: SearchBounds, rule: str, seconds: float) -> None:
        self._bounds, self._headed = bounds, False
        what = "requests a second" if bounds.unit == "rate" else "clients"
        most = "" if bounds.most is None else f", to {bounds.most:g} at most"
        self._say(
            f"Searching for the most {what} at which {rule}: doubled from {bounds.first:g} until it fails{most}, then "
            f"narrowed to {100 * RESOLUTION:g} %."
        )
        longest = _time(2.5 * seconds)
        self._say(f"This takes {_time(seconds)} to {longest}, by how long an answer takes. Ctrl-C ends it.")
        self._write("")

    def tries(self, trial: Trial, seconds: float) -> None:
        if self._out.isatty():
            why = {"confirm": ", longer, to be sure", "again": " once more"}.get(trial.purpose, "")
            self._out.write(f"{trial.load:>{_WIDTHS[0]}g}  trying{why}: {_time(seconds)} or more …\r")
            self._out.flush()

    def tried(self, step: SearchStep) -> None:
        if not self._headed:
            self._headed = True
            self._row(head(self._bounds.unit, step.ttft_p50 is not None))
        self._row(step.cells)

    def bounded(self, low: float, high: float, seconds: float) -> None:
        self._say(f"It lies between {low:g} and {high:g}: about {_time(seconds)} more.")

    def _row(self, cells: list[str]) -> None:
        figures = "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=False))
        self._write(f"{figures}  {cells[-1]}".rstrip())

    def _say(self, text: str) -> None:
        self._write("\n".join(textwrap.wrap(text, WIDTH)))

    def _write(self, line: str) -> None:
        clear = "\x1b[K" if self._out.isatty() else ""
        print(f"{clear}{line}", file=self._out, flush=True)


def _time(seconds: float) -> str:
    """Roughly."""
    if seconds < 20:
        return f"{math.ceil(seconds)} s"
    return f"{10 * math.ceil(seconds / 10)} s" if seconds < 90 else f"{math.ceil(seconds / 30) / 2:g} minutes"
