"""The result of a run, and the file that holds the results of one or several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec

import gateway
from gateway.loadtest.overhead import Overhead
from gateway.loadtest.tally import Tally
from gateway.loadtest.timeline import loaded

FORMAT = 1


class NoReport(Exception):
    """A file is no report; the message says which, and why."""


@attrs.frozen
class RunResult:
    """The result of the load on one target. ``seconds``: of arrivals that count; ``elapsed``: to the last end."""

    target: str
    url: str
    started: str
    scenario: Mapping[str, Any]
    seconds: float
    elapsed: float
    interrupted: bool
    tally: Tally
    requests: Mapping[str, Tally]
    timeline: Sequence[Mapping[str, Any]]
    overhead: Overhead

    @property
    def name(self) -> str:
        return self.target or self.url

    @property
    def rate(self) -> float:
        """Requests that were begun, a second."""
        return self.tally.counts["started"] / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """The tokens of all answers a second, until the last end."""
        return self.tally.tokens / self.elapsed if self.elapsed else 0.0

    def dump(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "url": self.url,
            "started": self.started,
            "scenario": self.scenario,
            "seconds": self.seconds,
            "elapsed": self.elapsed,
            "interrupted": self.interrupted,
            "rate": self.rate,
            "tokens_per_second": self.tokens_per_second,
            "total": self.tally.dump(),
            "requests": {name: tally.dump() for name, tally in self.requests.items()},
            "timeline": list(self.timeline),
            "loader": self.overhead.dump(),
        }

    @classmethod
    def load(cls, value: Any) -> "RunResult":
        """Read what ``dump`` gave. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        return cls(
            target=str(value["target"]),
            url=str(value["url"]),
            started=str(value["started"]),
            scenario=dict(value["scenario"]),
            seconds=float(value["seconds"]),
            elapsed=float(value["elapsed"]),
            interrupted=bool(value["interrupted"]),
            tally=Tally.load(value["total"]),
            requests={name: Tally.load(tally) for name, tally in value["requests"].items()},
            timeline=loaded(value["timeline"]),
            overhead=Overhead.load(value["loader"]),
        )


def dump(runs: Sequence[RunResult]) -> bytes:
    """The JSON of a report; times are in seconds."""
    value = {"trigate": gateway.__version__, "format": FORMAT, "runs": [run.dump() for run in runs]}
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def load(path: Path) -> tuple[RunResult, ...]:
    """The runs in a file that ``dump`` wrote. Raises ``NoReport``."""
    try:
        value = msgspec.json.decode(path.read_bytes())
        if value["format"] != FORMAT:
            raise NoReport(f"{path}: a report of format {value['format']}; this version reads {FORMAT}")
        return tuple(RunResult.load(run) for run in value["runs"])
    except OSError as error:
        raise NoReport(f"{path}: cannot be read: {(error.strerror or 'unreadable').lower()}") from error
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise NoReport(f"{path}: this is no report of trigate load --json") from error


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
