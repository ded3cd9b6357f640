"""Reads scenarios from YAML files or command-line options, and reports all mistakes together."""

import math
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Final

import attrs

from configfile import document
from configfile.document import ConfigError, Document, Mistake
from configfile.expanded import without_marks
from configfile.reading import ReadingFault
from configfile.reading import read as read_content
from configfile.variables import Variables
from configfile.wording import Wrong, describe
from loadtest.plan.arrivals import ClientStep, RateStep, seconds_until_count
from loadtest.plan.contradictions import contradictions, has_only_recordings, name_of
from loadtest.plan.load_endpoints import can_stream
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.raw_scenario import RawRateStep, RawScenario
from loadtest.plan.recorded_load import trace_of
from loadtest.plan.requested_loads import RequestedLoads, requested_loads
from loadtest.plan.scenario import Scenario
from loadtest.plan.spellings import KEYS_ELSEWHERE, REMOVED_KEYS

SECONDS: Final = 30.0  # default length of a load


def load(path: Path, env: Mapping[str, str]) -> Scenario:
    """Return the scenario in the file ``path``, with variables from ``env``.

    Raises ``ConfigError`` with all mistakes.
    """
    return build_scenario(document.read_file(path), env)


def build_scenario(read: Document, env: Mapping[str, str]) -> Scenario:
    """Return the scenario in a document, which may come from options. Raises ``ConfigError`` with all mistakes."""
    if not isinstance(read.content, dict):
        raise ConfigError(
            (read.mistake((), f"expected keys and values, found {describe(read.content)}", "see docs/load.md"),)
        )
    variables = Variables(env)
    asked = requested_loads(variables.expand(read.content, ()))
    content = asked.content
    mistakes = [read.mistake(path, *words) for path, words in variables.mistakes]
    mistakes += [read.mistake((key,), found, expected) for key, found, expected in asked.mistakes]
    found = read_content(content, RawScenario)
    mistakes += [read.mistake(fault.path, *_with_suggestion(fault).words) for fault in found.faults]
    wrong = frozenset(fault.path[: 3 if fault.path[0] == "requests" else 1] for fault in found.faults)
    raw = found.value if found.value is not None and not wrong else _readable_part(content, wrong)
    given = {key for key, value in content.items() if value is not None}
    mistakes += [read.mistake(*finding) for finding in contradictions(raw, given, wrong)]
    if mistakes:
        raise ConfigError(tuple(sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake.line or 0)))
    return without_marks(_make_scenario(raw, asked))


def _with_suggestion(fault: ReadingFault) -> Wrong:
    """Return the mistake, with our name for a key of another tool."""
    key = str(fault.path[-1]) if fault.path else ""
    if fault.wrong.found == "unknown key" and key in REMOVED_KEYS:
        return Wrong("unknown key", REMOVED_KEYS[key])
    if fault.wrong.found == "unknown key" and (ours := KEYS_ELSEWHERE.get(key.replace("-", "_").lower())):
        return Wrong("unknown key", "", ours)
    return fault.wrong


def _readable_part(content: Mapping[str, Any], wrong: Set[document.Path]) -> RawScenario:
    """Return the readable part of a scenario, so that its mistakes are reported along with those in ``wrong``."""
    kept = {key: value for key, value in content.items() if (key,) not in wrong}
    kept["requests"] = [
        {"model": ""}
        if ("requests", i) in wrong
        else {"model": "", **_without_wrong_keys(request, ("requests", i), wrong)}
        for i, request in enumerate(kept.get("requests") or ())
    ]
    found = read_content(kept, RawScenario).value
    assert found is not None
    return found


def _without_wrong_keys(
    request: Mapping[str, Any], path: document.Path, wrong: Set[document.Path]
) -> Mapping[str, Any]:
    return {key: value for key, value in request.items() if value is not None and (*path, key) not in wrong}


def _trace_step(raw: RawScenario, path: Path) -> RateStep:
    """Return the step that represents a trace after the warm-up. Raises ``ConfigError``."""
    trace = trace_of(path)
    starts, end = [*trace.arrivals(raw.speed)], trace.seconds / raw.speed
    last = end - raw.warmup
    if last < 0:
        found = f"the warm-up of {raw.warmup:g} s is longer than the trace, {end:g} s at speed {raw.speed:g}"
        raise ConfigError((Mistake("", "warmup", found, "make it shorter"),))
    counting = [start - raw.warmup for start in starts if start >= raw.warmup][: raw.count]
    if raw.count == len(counting):
        last = counting[-1]
    seconds = min(raw.seconds or math.inf, max(last, 0.001))
    return RateStep(sum(start <= seconds for start in counting) / seconds, seconds)


def _client_step(clients: int, step: RawRateStep) -> ClientStep:
    return ClientStep(clients, step.seconds, None if step.to is None else int(step.to))


def _make_scenario(raw: RawScenario, asked: RequestedLoads) -> Scenario:
    steps = tuple(RateStep(step.rate, step.seconds, step.to) for step in raw.steps or () if step.rate is not None)
    clients = tuple(_client_step(step.concurrency, step) for step in raw.steps or () if step.concurrency is not None)
    seconds = raw.seconds or (SECONDS if raw.count is None else math.inf)
    if raw.rate is not None:
        steps = (RateStep(raw.rate, seconds),)
    trace = raw.trace
    if not steps and not raw.concurrency and has_only_recordings(raw):
        trace = raw.requests[0].requests
    if trace is not None:
        steps = (_trace_step(raw, trace),)
        seconds = steps[0].seconds
    elif steps:
        seconds = min(
            sum(step.seconds for step in steps),
            math.inf if raw.count is None else seconds_until_count(steps, raw.count),
        )
    if clients:
        seconds = sum(step.seconds for step in clients)
    requests = (attrs.asdict(request, recurse=False) for request in raw.requests)
    same = {name: value for name, value in attrs.asdict(raw, recurse=False).items() if name in _SCENARIO}
    made = {
        "targets": raw.targets or {"": str(raw.url)},
        "requests": tuple(
            LoadRequest(**{**members, "name": name_of(request), "stream": request.stream and can_stream(request.api)})
            for members, request in zip(requests, raw.requests, strict=True)
        ),
        "seconds": seconds,
        "steps": steps,
        "burstiness": raw.burstiness if raw.burstiness is not None and math.isfinite(raw.burstiness) else None,
        "loads": asked.loads,
        "search": asked.search,
        "concurrency": max((step.most_clients for step in clients), default=raw.concurrency or 0),
        "client_steps": clients,
        "trace": trace,
        "headers": tuple(raw.headers.items()),
        "slo": (*raw.slo, *(f"{name_of(request)}: {text}" for request in raw.requests for text in request.slo)),
        "probe": raw.probe or 0.0,
    }
    return Scenario(**{**same, **made})


_SCENARIO: Final = frozenset(field.name for field in attrs.fields(Scenario))
