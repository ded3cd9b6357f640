"""The result of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from loadtest.figures.histogram import Histogram
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline
from loadtest.plan.kinds import PERCENTILES
from loadtest.run.overhead import Overhead
from loadtest.run.search import SearchReport


@attrs.frozen
class RunResult:
    """The result of a load on one target. ``seconds`` is the duration of the measured arrivals, ``elapsed`` the time
    until the last end.

    ``tally`` covers the whole run; ``requests``, ``turns`` (of conversations) and ``steps`` are its parts. ``stopped``
    is the reason for an early end, or "". ``unbegun`` counts turns that were skipped after a failed turn, ``cut_off``
    those that were skipped at the end of the load. ``remarks`` are notes that do not follow from the figures.
    ``search`` is set if the run is the result of a search. ``label`` distinguishes runs of the same target. ``probes``
    are the small requests next to the load.
    """

    target: str
    url: str
    started: str
    scenario: Mapping[str, Any]
    seconds: float
    elapsed: float
    interrupted: bool
    tally: Tally
    requests: Mapping[str, Tally]
    timeline: LoadTimeline
    overhead: Overhead
    turns: Mapping[int, Tally] = attrs.field(factory=dict)
    steps: Mapping[int, Tally] = attrs.field(factory=dict)
    stopped: str = ""
    unbegun: int = 0
    cut_off: int = 0
    retry_waits: Histogram = attrs.field(factory=Histogram)
    remarks: Sequence[str] = ()
    search: SearchReport | None = None
    label: str = ""
    probes: Tally = attrs.field(factory=Tally)

    @property
    def name(self) -> str:
        return f"{self.target or self.url} {self.label}".rstrip()

    @property
    def percentiles(self) -> Sequence[float]:
        """The percentiles to report."""
        return self.scenario.get("percentiles") or PERCENTILES

    @property
    def rate(self) -> float:
        """Requests started per second."""
        return self.tally.counts["started"] / self.seconds if self.seconds else 0.0

    @property
    def completed_rate(self) -> float:
        """Whole answers per second, from the begin to the last arrival."""
        return self.timeline.rate("whole", self.seconds)

    @property
    def goodput_rate(self) -> float:
        """Good answers per second, from the begin to the last arrival."""
        return self.timeline.rate("good", self.seconds)

    @property
    def tokens_per_second(self) -> float:
        """Output tokens of whole answers per second, until the last end."""
        return self.tally.tokens / self.elapsed if self.elapsed else 0.0

    @property
    def input_tokens_per_second(self) -> float:
        """Input tokens of whole answers per second, until the last end."""
        return self.tally.input_tokens / self.elapsed if self.elapsed else 0.0

    @property
    def steady_tokens_per_second(self) -> float:
        """Output tokens per second from the begin to the last arrival, whenever their answers began."""
        return self.timeline.rate("tokens", self.seconds)

    def dump(self) -> dict[str, Any]:
        parts: Mapping[str, Mapping[Any, Tally]] = {"requests": self.requests, "turns": self.turns, "steps": self.steps}
        return {
            "target": self.target,
            "label": self.label,
            "url": self.url,
            "started": self.started,
            "scenario": self.scenario,
            "seconds": self.seconds,
            "elapsed": self.elapsed,
            "interrupted": self.interrupted,
            "stopped": self.stopped,
            "rate": self.rate,
            "completed": self.completed_rate,
            "goodput": self.tally.goodput,
            "goodput_rate": self.goodput_rate,
            "tokens_per_second": self.tokens_per_second,
            "input_tokens_per_second": self.input_tokens_per_second,
            "steady": {"tokens_per_second": self.steady_tokens_per_second},
            "unbegun": self.unbegun,
            "cut_off": self.cut_off,
            "retry_waits": self.retry_waits.dump(),
            "remarks": list(self.remarks),
            "search": None if self.search is None else self.search.dump(),
            "total": self.tally.dump(self.percentiles),
            **{name: self._dump_parts(part) for name, part in parts.items()},
            "timeline": self.timeline.dump(),
            "probes": self.probes.dump() if self.probes.counts else None,
            "loader": self.overhead.dump(),
        }

    def _dump_parts(self, part: Mapping[Any, Tally]) -> dict[str, Any]:
        return {str(key): tally.dump(self.percentiles) for key, tally in part.items()}

    @classmethod
    def load(cls, value: Any) -> "RunResult":
        """Read the result of ``dump`` of this or an earlier version.

        Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else.
        """
        return cls(
            target=str(value["target"]),
            label=str(value.get("label", "")),
            url=str(value["url"]),
            started=str(value["started"]),
            scenario=dict(value["scenario"]),
            seconds=float(value["seconds"]),
            elapsed=float(value["elapsed"]),
            interrupted=bool(value["interrupted"]),
            stopped=str(value.get("stopped", "")),
            tally=Tally.load(value["total"]),
            requests={name: Tally.load(tally) for name, tally in value["requests"].items()},
            turns={int(number): Tally.load(tally) for number, tally in value.get("turns", {}).items()},
            steps={int(number): Tally.load(tally) for number, tally in value.get("steps", {}).items()},
            unbegun=int(value.get("unbegun", 0)),
            cut_off=int(value.get("cut_off", 0)),
            retry_waits=Histogram.load(value["retry_waits"]) if "retry_waits" in value else Histogram(),
            remarks=tuple(map(str, value.get("remarks", ()))),
            search=SearchReport.load(found) if (found := value.get("search")) else None,
            timeline=LoadTimeline.load(value["timeline"]),
            probes=Tally.load(probes) if (probes := value.get("probes")) else Tally(),
            overhead=Overhead.load(value["loader"]),
        )
