"""Load scenarios as frozen values: what a load is to be, without its credentials where it is shown."""

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs

from configfile.kinds import Count, Duration, Wait
from loadtest.plan.arrivals import ClientStep, RateStep, arrivals, bursts, counted, evenly, gamma, poisson
from loadtest.plan.asked_loads import Burst, Burstiness, SearchBounds
from loadtest.plan.kinds import (
    HTTP_1,
    PERCENTILES,
    FilePath,
    HttpVersion,
    Percentiles,
    Requests,
    Speed,
    StreamCount,
    TokenCount,
    as_keys,
)
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.masked_urls import shown
from loadtest.plan.recorded_load import trace_of
from loadtest.plan.shares import ALL, PlanShare, Processes

NAMES: Final = r"[\w-]*(?:api[_-]?key|authorization|password|secret|(?:access|auth|bearer)[_-]?token)"
MASK: Final = "***"
AS_RECORDED: Final = 1.0  # speed

_NAMED: Final = re.compile(NAMES, re.IGNORECASE)


def is_secret(name: object) -> bool:
    """Whether a member of that ``name`` is a credential."""
    return isinstance(name, str) and _NAMED.fullmatch(name) is not None


def named_secrets(value: Any, *, named: bool = False) -> Iterator[str]:
    """The texts in ``value`` that are credentials by the names of their members; all, where it is ``named`` so."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from named_secrets(item, named=is_secret(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from named_secrets(item, named=named)
    elif named and isinstance(value, str):
        yield value


def without_secrets(value: Any) -> Any:
    """``value`` with a mask for each credential."""
    if isinstance(value, Mapping):
        return {name: MASK if is_secret(name) else without_secrets(item) for name, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list | tuple) else value


Spacing: TypeAlias = Literal["even", "poisson"]
"""How the arrivals of an open loop are spread."""


@attrs.frozen(kw_only=True, field_transformer=as_keys)
class ScenarioKeys:
    """The keys of a scenario whose values a load takes over from its file."""

    spacing: Spacing = "even"
    burstiness: Burstiness | None = None
    burst: Burst | None = None
    trace: FilePath | None = None
    speed: Speed = AS_RECORDED
    repeat: Count = 1
    count: Requests | None = None
    max_tokens: TokenCount | None = None
    warmup: Duration = 0.0
    grace: Duration = 30.0
    timeout: Wait = 300.0
    idle: Wait | None = None
    deadline: Wait | None = None
    respect_retry_after: bool = False
    connections: Literal["keep", "new"] = "keep"
    http: HttpVersion = HTTP_1
    streams_per_connection: StreamCount = 100
    resend: bool = True
    dns_ttl: Duration = 0.0
    key_env: str | None = None
    strict: bool = False
    seed: Count = 1
    processes: Processes = 1
    percentiles: Percentiles = PERCENTILES
    same_prompts: bool = False


@attrs.frozen
class Scenario(ScenarioKeys):
    """A load test. Either ``steps`` (an open loop; the warm-up is not among them), of whose requests ``concurrency``
    may be under way at once (0: all), or ``concurrency`` clients for ``seconds``: without end where ``count`` ends it.
    With ``client_steps`` these say how many of them ask, and when.

    ``targets`` are loaded one after the other, each with the same requests at the same times. ``count``: how many are
    begun that count, at most. ``timeout`` (seconds) bounds one exchange, ``idle`` the time between two of its events,
    ``deadline`` all of it from its time in the plan, ``grace`` the wait for what is under way when the time is up.
    ``strict``: judge without waiving what real servers are known to do. ``fail_if``, ``until`` and ``slo`` are as
    text.

    ``processes`` of this machine make the load together. It is one ``part`` of a plan that several machines make, and
    begins at ``start_at`` (Unix seconds).

    Over ``http`` 2, ``streams_per_connection`` exchanges share a connection. ``resend``: what met a closed connection
    goes out again. ``dns_ttl``: seconds after which the name is looked up anew (0: never).

    With a ``trace`` the requests come as its rows say, ``speed`` times as fast, the first of them in the warm-up;
    ``steps`` have its mean rate.

    ``probe``: so many requests of one token a second beside it, which are counted apart.

    ``seed`` fixes what is drawn: arrivals, the mix, lengths. Texts of prompts differ from run to run and from target to
    target all the same, by a ``mark`` of the run ("" until one is made), but for ``same_prompts``."""

    targets: Mapping[str, str]
    requests: tuple[LoadRequest, ...]
    seconds: float
    steps: tuple[RateStep, ...] = ()
    loads: tuple[float, ...] = ()
    search: SearchBounds | None = None
    concurrency: int = 0
    client_steps: tuple[ClientStep, ...] = ()
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)  # credentials
    fail_if: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    slo: tuple[str, ...] = ()
    part: PlanShare = ALL
    start_at: float | None = None
    probe: float = 0.0
    mark: str = ""

    @property
    def open_loop(self) -> bool:
        return bool(self.steps)

    @property
    def planned(self) -> float:
        """How many sessions are planned that count; infinite where only time ends a closed loop."""
        expected = sum(step.expected for step in self.steps) if self.open_loop else math.inf
        return expected if self.count is None else min(expected, self.count)

    @property
    def at_random(self) -> bool:
        """Arrivals know nothing of each other."""
        return self.open_loop and (self.burstiness is not None or self.spacing == "poisson")

    def distances(self, chance: random.Random) -> Iterator[float]:
        """Those of the arrivals, in expected arrivals."""
        if self.burst is not None:
            return bursts(self.burst.size)
        if self.burstiness is not None:
            return gamma(self.burstiness, chance)
        return poisson(chance) if self.spacing == "poisson" else evenly()

    def at(self, load: float) -> "Scenario":
        """The same with one load: so many requests a second, or clients."""
        single = attrs.evolve(self, loads=(), search=None, repeat=1)
        if self.open_loop:
            seconds = self.seconds if self.count is None else self.count / load
            return attrs.evolve(single, steps=(RateStep(load, seconds),), seconds=seconds)
        return attrs.evolve(single, concurrency=int(load))

    def described(self) -> dict[str, Any]:
        """For the report: all of it but what may be a credential, the values of headers, of the queries of URLs and of
        members of ``extra`` that are called so; and but for the mark, the part and its start, which are no part of what
        was planned."""
        targets = {name: shown(url) for name, url in self.targets.items()}
        whole = attrs.asdict(self, value_serializer=lambda _, __, value: _spelled(value))
        del whole["mark"], whole["part"], whole["start_at"]
        for request in whole["requests"]:
            request["extra"] = without_secrets(request["extra"])
        first = {name: whole[name] for name in ("targets", "requests", "seconds", "steps")}
        return first | whole | {"targets": targets, "headers": [name for name, _ in self.headers]}


def _spelled(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def recorded_starts(scenario: Scenario) -> Iterator[float]:
    """The starts of a trace's requests, in seconds from the beginning of the warm-up."""
    assert scenario.trace is not None
    end = scenario.warmup + scenario.seconds
    return itertools.takewhile(lambda start: start <= end + 1e-9, trace_of(scenario.trace).arrivals(scenario.speed))


def plays_out(scenario: Scenario) -> bool:
    """Whether the plan ends of itself, and not by its time: a count, or a trace that is not cut off."""
    if scenario.trace is None or scenario.count is not None:
        return scenario.count is not None
    last = trace_of(scenario.trace).seconds / scenario.speed
    return last <= scenario.warmup + scenario.seconds + 0.001


def starts(scenario: Scenario) -> Iterator[float]:
    """The arrivals of an open loop, in seconds from the begin of its warm-up: the same in each process of a load."""
    found = _drawn_starts(scenario) if scenario.trace is None else recorded_starts(scenario)
    return found if scenario.count is None else counted(found, scenario.warmup, scenario.count)


def planned_counts(plan: Scenario, of: int, seconds: float) -> list[int] | None:
    """Return how many sessions that count each of so many shares has in the first ``seconds``; ``None`` where the
    server sets the pace."""
    if not plan.open_loop:
        return None if plan.count is None else [PlanShare(index, of).count(plan.count) for index in range(of)]
    found = [0] * of
    for number, start in enumerate(starts(plan)):
        found[number % of] += 0 <= start - plan.warmup < seconds
    return found


def _drawn_starts(scenario: Scenario) -> Iterator[float]:
    steps = scenario.steps
    if scenario.warmup:
        steps = (RateStep(steps[0].rate, scenario.warmup), *steps)
    chance = random.Random(f"{scenario.seed} arrivals")
    return arrivals(steps, scenario.distances(chance))
