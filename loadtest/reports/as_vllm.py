"""``--as vllm``: the keys that scripts read from the results of vLLM's bench (docs.vllm.ai, ``vllm bench serve``).

The figures are ours: the clock starts when a request was planned to begin, and what was not measured is null, not 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from loadtest.figures.histogram import Histogram
from loadtest.figures.result import RunResult

_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "ttft": ("ttft",),
    "tpot": ("tpot",),
    "itl": ("gap",),
    "e2el": ("last_token", "duration"),  # of whole answers only the second is measured
}


def as_vllm(runs: Sequence[RunResult]) -> bytes:
    """One run is an object, as there; several are a list of them."""
    found = [_of_run(run) for run in runs]
    return msgspec.json.format(msgspec.json.encode(found[0] if len(found) == 1 else found), indent=1)


def _of_run(run: RunResult) -> dict[str, Any]:
    tally, seconds = run.tally, run.elapsed
    tokens = tally.tokens + tally.input_tokens
    requests = run.scenario.get("requests") or [{}]

    def each_second(value: float) -> float | None:
        return value / seconds if seconds else None

    return {
        "date": run.started,
        "target": run.name,
        "model_id": requests[0].get("model"),
        "num_prompts": tally.counts["started"],
        "request_rate": run.rate if run.scenario.get("steps") else "inf",
        "max_concurrency": run.scenario.get("concurrency") or None,
        "duration": seconds,
        "completed": tally.counts["whole"],
        "failed": tally.counts["started"] - tally.counts["whole"],
        "total_input_tokens": tally.input_tokens,
        "total_output_tokens": tally.tokens,
        "request_throughput": each_second(tally.counts["whole"]),
        "request_goodput": each_second(tally.counts["good"]) if run.scenario.get("slo") else None,
        "output_throughput": each_second(tally.tokens),
        "total_token_throughput": each_second(tokens),
        **dict(_times(run)),
    }


def _times(run: RunResult) -> Iterator[tuple[str, float | None]]:
    for name, measures in _NAMES.items():
        there = (run.tally.measures[measure] for measure in measures)
        histogram = next((found for found in there if found.count), Histogram())
        figures = {"mean": histogram.mean, "median": histogram.percentile(50), "std": histogram.deviation}
        figures |= {f"p{percent:g}": histogram.percentile(percent) for percent in (99, *run.percentiles)}
        for figure, value in figures.items():
            yield f"{figure}_{name}_ms", 1000 * value if histogram.count else None
