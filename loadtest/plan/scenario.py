"""Load scenarios as frozen values, and their description without credentials."""

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs

from configfile.kinds import Count, Duration, Wait
from loadtest.plan.arrivals import (
    ClientStep,
    RateStep,
    arrivals,
    burst_distances,
    even_distances,
    gamma_distances,
    limit_count,
    poisson_distances,
)
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
from loadtest.plan.masked_urls import mask_url
from loadtest.plan.recorded_load import trace_of
from loadtest.plan.requested_loads import Burst, Burstiness, SearchBounds
from loadtest.plan.shares import ALL, PlanShare, Processes

NAMES: Final = r"[\w-]*(?:api[_-]?key|authorization|password|secret|(?:access|auth|bearer)[_-]?token)"
MASK: Final = "***"
AS_RECORDED: Final = 1.0  # speed

_NAMED: Final = re.compile(NAMES, re.IGNORECASE)


def is_secret(name: object) -> bool:
    """Return whether a member with this ``name`` is a credential."""
    return isinstance(name, str) and _NAMED.fullmatch(name) is not None


def named_secrets(value: Any, *, named: bool = False) -> Iterator[str]:
    """Yield the texts in ``value`` that are credentials by the names of their members, or all texts if ``named``."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from named_secrets(item, named=is_secret(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from named_secrets(item, named=named)
    elif named and isinstance(value, str):
        yield value


def without_secrets(value: Any) -> Any:
    """Return ``value`` with all credentials masked."""
    if isinstance(value, Mapping):
        return {name: MASK if is_secret(name) else without_secrets(item) for name, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list | tuple) else value


Spacing: TypeAlias = Literal["even", "poisson"]
"""The spacing of arrivals in an open loop."""


@attrs.frozen(kw_only=True, field_transformer=as_keys)
class ScenarioKeys:
    """The keys of a scenario whose values a load uses unchanged."""

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
    """A load test.

    In an open loop, ``steps`` define the arrivals after the warm-up, and at most ``concurrency`` requests run
    simultaneously (0: no cap). In a closed loop, ``concurrency`` clients run for ``seconds``, or until ``count`` is
    reached; ``client_steps`` may vary their number.

    The ``targets`` are loaded one after another, with the same requests at the same times. ``count`` limits the
    requests after the warm-up. In seconds, ``timeout`` limits an exchange, ``idle`` the time between two events,
    ``deadline`` the time from the planned begin, and ``grace`` the wait for requests under way at the end. ``strict``
    judges without exceptions for known server behaviour. ``fail_if``, ``until`` and ``slo`` are texts.

    The load is made by ``processes`` processes of this machine. It is one ``part`` of a plan for several machines, and
    begins at ``start_at`` (Unix seconds). With ``http`` 2, ``streams_per_connection`` exchanges share a connection.
    ``resend`` sends a request again if its connection was already closed. ``dns_ttl`` is the time in seconds between
    DNS lookups (0: only one).

    A ``trace`` determines the arrivals, ``speed`` times as fast, beginning in the warm-up; ``steps`` have its mean
    rate. ``probe`` is a rate of additional small requests, which are counted separately.

    ``seed`` determines all random values: arrivals, mix and lengths. The texts of prompts still differ between runs
    and targets, by the run's ``mark``, unless ``same_prompts`` is set.
    """

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
    def is_open_loop(self) -> bool:
        return bool(self.steps)

    @property
    def planned_sessions(self) -> float:
        """The planned number of sessions after the warm-up, or infinity if only time ends a closed loop."""
        expected = sum(step.expected_arrivals for step in self.steps) if self.is_open_loop else math.inf
        return expected if self.count is None else min(expected, self.count)

    @property
    def has_random_arrivals(self) -> bool:
        """True if arrivals are independent of each other."""
        return self.is_open_loop and (self.burstiness is not None or self.spacing == "poisson")

    def distances(self, rng: random.Random) -> Iterator[float]:
        """Return the distances between arrivals, in expected arrivals."""
        if self.burst is not None:
            return burst_distances(self.burst.size)
        if self.burstiness is not None:
            return gamma_distances(self.burstiness, rng)
        return poisson_distances(rng) if self.spacing == "poisson" else even_distances()

    def with_load(self, load: float) -> "Scenario":
        """Return the scenario with a single load: requests a second, or clients."""
        single = attrs.evolve(self, loads=(), search=None, repeat=1)
        if self.is_open_loop:
            seconds = self.seconds if self.count is None else self.count / load
            return attrs.evolve(single, steps=(RateStep(load, seconds),), seconds=seconds)
        return attrs.evolve(single, concurrency=int(load))

    def describe(self) -> dict[str, Any]:
        """Return the scenario for a report, without possible credentials (values of headers, URL queries and secret
        members of ``extra``), and without the mark, the part and its start, which differ between machines."""
        targets = {name: mask_url(url) for name, url in self.targets.items()}
        whole = attrs.asdict(self, value_serializer=lambda _, __, value: _serialize(value))
        del whole["mark"], whole["part"], whole["start_at"]
        for request in whole["requests"]:
            request["extra"] = without_secrets(request["extra"])
        first = {name: whole[name] for name in ("targets", "requests", "seconds", "steps")}
        return first | whole | {"targets": targets, "headers": [name for name, _ in self.headers]}


def _serialize(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def recorded_starts(scenario: Scenario) -> Iterator[float]:
    """Return the start times of a trace, in seconds from the beginning of the warm-up."""
    assert scenario.trace is not None
    end = scenario.warmup + scenario.seconds
    return itertools.takewhile(lambda start: start <= end + 1e-9, trace_of(scenario.trace).arrivals(scenario.speed))


def has_fixed_end(scenario: Scenario) -> bool:
    """Return whether the plan has its own end: with a count, or at the end of a trace."""
    if scenario.trace is None or scenario.count is not None:
        return scenario.count is not None
    last = trace_of(scenario.trace).seconds / scenario.speed
    return last <= scenario.warmup + scenario.seconds + 0.001


def arrival_times(scenario: Scenario) -> Iterator[float]:
    """Return the arrivals of an open loop, in seconds from the begin of the warm-up.

    All processes of a load get the same.
    """
    found = _drawn_starts(scenario) if scenario.trace is None else recorded_starts(scenario)
    return found if scenario.count is None else limit_count(found, scenario.warmup, scenario.count)


def planned_counts(plan: Scenario, of: int, seconds: float) -> list[int] | None:
    """Return the number of sessions that each of ``of`` shares starts in the first ``seconds``, or ``None`` if the
    server sets the pace."""
    if not plan.is_open_loop:
        return None if plan.count is None else [PlanShare(index, of).count(plan.count) for index in range(of)]
    found = [0] * of
    for number, start in enumerate(arrival_times(plan)):
        found[number % of] += 0 <= start - plan.warmup < seconds
    return found


def _drawn_starts(scenario: Scenario) -> Iterator[float]:
    steps = scenario.steps
    if scenario.warmup:
        steps = (RateStep(steps[0].rate, scenario.warmup), *steps)
    rng = random.Random(f"{scenario.seed} arrivals")
    return arrivals(steps, scenario.distances(rng))
