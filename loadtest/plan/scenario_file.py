"""From a YAML file, or the options of the command line, to a scenario; all mistakes at once."""

import math
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import attrs

from configfile import document
from configfile.document import ConfigError, Document, Mistake
from configfile.variables import Variables
from configfile.wording import Wrong, describe
from loadtest.plan.arrivals import RateStep, time_of
from loadtest.plan.asked_loads import AskedLoads, asked_loads
from loadtest.plan.client_steps import ClientStep
from loadtest.plan.contradictions import as_they_were, contradictions, name_of
from loadtest.plan.converter import ConversionFault, structure
from loadtest.plan.load_endpoints import streams
from loadtest.plan.raw_scenario import EVER, SECONDS, RawRateStep, RawScenario
from loadtest.plan.recorded_load import trace_of
from loadtest.plan.scenario import Scenario
from loadtest.plan.spellings import KEYS_ELSEWHERE, REMOVED_KEYS


def load(path: Path, env: Mapping[str, str]) -> Scenario:
    """The scenario in the file ``path``, with variables from ``env``. Raises ``ConfigError`` with every mistake."""
    return build(document.read_file(path), env)


def build(read: Document, env: Mapping[str, str]) -> Scenario:
    """The scenario in a document, or in the options of a command that were put together to one."""
    if not isinstance(read.content, dict):
        raise ConfigError((read.mistake((), f"{describe(read.content)} where keys should be", "see docs/load.md"),))
    variables = Variables(env)
    asked = asked_loads(variables.expand(read.content, ()))
    content = asked.content
    mistakes = [read.mistake(path, *words) for path, words in variables.mistakes]
    mistakes += [read.mistake((key,), found, expected) for key, found, expected in asked.mistakes]
    raw = structure(content, RawScenario)
    wrong: frozenset[document.Path] = frozenset()
    if isinstance(raw, tuple):
        mistakes += [read.mistake(fault.path, *_ours(fault).words) for fault in raw]
        wrong = frozenset(fault.path[: 3 if fault.path[0] == "requests" else 1] for fault in raw)
        raw = _rest(content, wrong)
    given = {key for key, value in content.items() if value is not None}
    mistakes += [read.mistake(*finding) for finding in contradictions(raw, given, wrong)]
    if mistakes:
        raise ConfigError(tuple(sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake.line or 0)))
    return _scenario(raw, asked)


def _ours(fault: ConversionFault) -> Wrong:
    """Other tools' keys have one of our own."""
    key = str(fault.path[-1]) if fault.path else ""
    if fault.wrong.found == "unknown key" and key in REMOVED_KEYS:
        return Wrong("unknown key", REMOVED_KEYS[key])
    if fault.wrong.found == "unknown key" and (ours := KEYS_ELSEWHERE.get(key.replace("-", "_").lower())):
        return Wrong("unknown key", "", ours)
    return fault.wrong


def _rest(content: Mapping[str, Any], wrong: Set[document.Path]) -> RawScenario:
    """The readable part of a scenario in which the members at ``wrong`` cannot: the mistakes of the rest are told with
    them."""
    kept = {key: value for key, value in content.items() if (key,) not in wrong}
    kept["requests"] = [
        {"model": ""} if ("requests", i) in wrong else {"model": "", **_without(request, ("requests", i), wrong)}
        for i, request in enumerate(kept.get("requests") or ())
    ]
    found = structure(kept, RawScenario)
    assert not isinstance(found, tuple)
    return found


def _without(request: Mapping[str, Any], path: document.Path, wrong: Set[document.Path]) -> Mapping[str, Any]:
    return {key: value for key, value in request.items() if value is not None and (*path, key) not in wrong}


def _as_recorded(raw: RawScenario, path: Path) -> RateStep:
    """The step that stands for a trace, behind the warm-up. Raises ``ConfigError``."""
    trace = trace_of(path)
    starts, end = [*trace.arrivals(raw.speed)], trace.seconds / raw.speed
    last = end - raw.warmup
    if last < 0:
        found = f"{raw.warmup:g} s of warm-up, and the trace has {end:g} s at speed {raw.speed:g}"
        raise ConfigError((Mistake("", "warmup", found, "make it shorter"),))
    counting = [start - raw.warmup for start in starts if start >= raw.warmup][: raw.count]
    if raw.count == len(counting):
        last = counting[-1]
    seconds = min(raw.seconds or math.inf, max(last, 0.001))
    return RateStep(sum(start <= seconds for start in counting) / seconds, seconds)


def _client_step(clients: int, step: RawRateStep) -> ClientStep:
    return ClientStep(clients, step.seconds, None if step.to is None else int(step.to))


def _scenario(raw: RawScenario, asked: AskedLoads) -> Scenario:
    steps = tuple(RateStep(step.rate, step.seconds, step.to) for step in raw.steps or () if step.rate is not None)
    clients = tuple(_client_step(step.concurrency, step) for step in raw.steps or () if step.concurrency is not None)
    seconds = raw.seconds or (SECONDS if raw.count is None else EVER)
    if raw.rate is not None:
        steps = (RateStep(raw.rate, seconds),)
    trace = raw.trace
    if not steps and not raw.concurrency and as_they_were(raw):
        trace = raw.requests[0].requests
    if trace is not None:
        steps = (_as_recorded(raw, trace),)
        seconds = steps[0].seconds
    elif steps:
        seconds = min(sum(step.seconds for step in steps), EVER if raw.count is None else time_of(steps, raw.count))
    if clients:
        seconds = sum(step.seconds for step in clients)
    return Scenario(
        targets=raw.targets or {"": str(raw.url)},
        requests=tuple(
            attrs.evolve(request, name=name_of(request), stream=request.stream and streams(request.api))
            for request in raw.requests
        ),
        seconds=seconds,
        steps=steps,
        spacing=raw.spacing,
        burstiness=raw.burstiness if raw.burstiness is not None and math.isfinite(raw.burstiness) else None,
        burst=raw.burst,
        loads=asked.loads,
        search=asked.search,
        repeat=raw.repeat,
        concurrency=max((step.most for step in clients), default=raw.concurrency or 0),
        client_steps=clients,
        trace=trace,
        speed=raw.speed,
        count=raw.count,
        max_tokens=raw.max_tokens,
        idle=raw.idle,
        deadline=raw.deadline,
        respect_retry_after=raw.respect_retry_after,
        warmup=raw.warmup,
        grace=raw.grace,
        timeout=raw.timeout,
        connections=raw.connections,
        http=raw.http,
        streams_per_connection=raw.streams_per_connection,
        resend=raw.resend,
        dns_ttl=raw.dns_ttl,
        key_env=raw.key_env,
        headers=tuple(raw.headers.items()),
        strict=raw.strict,
        fail_if=raw.fail_if,
        until=raw.until,
        slo=(*raw.slo, *(f"{name_of(request)}: {text}" for request in raw.requests for text in request.slo)),
        seed=raw.seed,
        processes=raw.processes,
        percentiles=raw.percentiles,
        same_prompts=raw.same_prompts,
        probe=raw.probe or 0.0,
    )
