"""Load scenarios: a YAML file, or the options of the command line, as frozen values; all mistakes at once."""

import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Literal, NewType, TypeAlias
from urllib.parse import unquote_plus

import attrs

from gateway.config import document
from gateway.config.converter import converter, structure
from gateway.config.document import ConfigError, Document
from gateway.config.kinds import Count, Duration, Secret, Url, Wait
from gateway.config.variables import Variables
from gateway.config.wording import Wrong, describe
from gateway.loadtest.arrivals import RateStep
from gateway.loadtest.fail_if import NoCondition, parse
from gateway.loadtest.load_request import AT_ONCE, LoadRequest, Rate, Share, Sizes

Address = NewType("Address", Url)  # a URL that no message repeats with its key
Targets = NewType("Targets", dict[str, Address])
Condition = NewType("Condition", str)

# The defaults
GRACE, PATIENCE, SEED = Duration(30.0), Wait(300.0), Count(1)

TOKENS = 4  # characters of a prompt for each of its tokens, about
LONGEST = 1_000_000  # tokens of a prompt

Spacing: TypeAlias = Literal["even", "poisson"]
"""How the arrivals of an open loop are spread."""


@attrs.frozen
class RawRateStep:
    rate: Rate
    seconds: Wait
    to: Rate | None = None


@attrs.frozen
class RawScenario:
    requests: tuple[LoadRequest, ...]
    targets: Targets | None = None
    url: Address | None = None
    rate: Rate | None = None
    steps: tuple[RawRateStep, ...] | None = None
    spacing: Spacing = "even"
    concurrency: Count | None = None
    seconds: Wait | None = None
    warmup: Duration = AT_ONCE
    grace: Duration = GRACE
    timeout: Wait = PATIENCE
    connections: Literal["keep", "new"] = "keep"
    key_env: str | None = None
    headers: dict[str, Secret] = attrs.field(factory=dict)
    strict: bool = False
    fail_if: tuple[Condition, ...] = ()
    seed: Count = SEED


@attrs.frozen
class Scenario:
    """A load test. Either ``steps`` (an open loop; the warm-up is not among them) or ``concurrency`` for ``seconds``.

    ``targets`` are loaded one after the other, each with the same requests at the same times. ``timeout`` (seconds)
    bounds one exchange, ``grace`` the wait for what is under way when the time is up. ``strict``: judge without waiving
    what real servers are known to do."""

    targets: Mapping[str, str]
    requests: tuple[LoadRequest, ...]
    seconds: float
    steps: tuple[RateStep, ...] = ()
    spacing: Spacing = "even"
    concurrency: int = 0
    warmup: float = 0.0
    grace: float = 30.0
    timeout: float = 300.0
    connections: Literal["keep", "new"] = "keep"
    key_env: str | None = None
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)  # credentials
    strict: bool = False
    fail_if: tuple[str, ...] = ()
    seed: int = 1

    @property
    def open_loop(self) -> bool:
        return bool(self.steps)

    def described(self) -> dict[str, Any]:
        """For the report: all of it but what may be a credential, the values of headers and of the queries of URLs."""
        targets = {name: shown(url) for name, url in self.targets.items()}
        return attrs.asdict(self) | {"targets": targets, "headers": [name for name, _ in self.headers]}


def shown(url: str) -> str:
    """The URL as it may be shown, whether or not it is a good one: without its user, and without the values of its
    query."""
    address, mark, query = url.partition("?")
    address = re.sub(r"(?<=//)[^/]*@", "***@", address)
    return address + mark + re.sub(r"([^&=]+=)?[^&]+", r"\1***", query)


def secrets(url: str) -> Iterator[str]:
    """The values of its query, each as it is sent and as a server may read it."""
    for part in url.partition("?")[2].split("&"):
        value = part.partition("=")[2] or part
        yield from (value, unquote_plus(value))


# What may stand in a file, beside the kinds of a configuration


def _number(value: Any, most: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Wrong(describe(value), f"this must be {what}")
    return float(value)


def _share(value: Any, _: Any) -> float:
    what = "a share such as 10% or 0.1"
    if isinstance(value, str):
        found = re.fullmatch(r"(\d{1,2}(?:\.\d{1,6})?|100)\s*%", value)
        if found is None:
            raise Wrong(describe(value), f"this must be {what}")
        return float(found[1]) / 100
    return _number(value, 1, what)


def _rate(value: Any, _: Any) -> float:
    return _number(value, 10**6, "a number, 0 or more")


def _sizes(value: Any, _: Any) -> tuple[int, int]:
    pair = value if isinstance(value, list | tuple) else (value, value)
    good = len(pair) == 2 and all(isinstance(one, int) and not isinstance(one, bool) for one in pair)
    if not good or not 1 <= pair[0] <= pair[1] <= LONGEST:
        raise Wrong(describe(value), f"this must be a number of tokens, or [least, most], 1 to {LONGEST}")
    return pair[0], pair[1]


def _address(value: Any, _: Any) -> str:
    try:
        return converter.structure(value, Url)
    except Wrong as error:
        if type(value) is str and error.found == describe(value):  # what came from a variable is not repeated anyway
            raise Wrong(describe(shown(value)), error.expected) from None
        raise


def _targets(value: Any, _: Any) -> dict[str, Address]:
    return converter.structure(value, dict[str, Address])


def _condition(value: Any, _: Any) -> str:
    text = converter.structure(value, str)
    try:
        parse(text)
    except NoCondition as error:
        raise Wrong(error.found, error.expected) from None
    return text


_HOOKS = {
    Share: _share,
    Rate: _rate,
    Sizes: _sizes,
    Address: _address,
    Targets: _targets,
    Condition: _condition,
}
for _kind, _hook in _HOOKS.items():
    converter.register_structure_hook(_kind, _hook)


# From the file to the scenario


def load(path: Path, env: Mapping[str, str]) -> Scenario:
    """The scenario in the file ``path``, with variables from ``env``. Raises ``ConfigError`` with every mistake."""
    return build(document.read_file(path), env)


def build(read: Document, env: Mapping[str, str]) -> Scenario:
    """The scenario in a document, or in the options of a command that were put together to one."""
    if not isinstance(read.content, dict):
        raise ConfigError((read.mistake((), f"{describe(read.content)} where keys should be", "see docs/load.md"),))
    variables = Variables(env)
    content = variables.expand(read.content, ())
    mistakes = [read.mistake(path, *words) for path, words in variables.mistakes]
    raw = structure(content, RawScenario)
    wrong: frozenset[document.Path] = frozenset()
    if isinstance(raw, tuple):
        mistakes += [read.mistake(fault.path, *fault.wrong.words) for fault in raw]
        wrong = frozenset(fault.path[: 3 if fault.path[0] == "requests" else 1] for fault in raw)
        raw = _rest(content, wrong)
    given = {key for key, value in content.items() if value is not None}
    mistakes += [read.mistake(*finding) for finding in _contradictions(raw, given, wrong)]
    if mistakes:
        raise ConfigError(tuple(sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake.line or 0)))
    return _scenario(raw)


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


def _contradictions(
    raw: RawScenario, given: Set[str], wrong: Set[document.Path]
) -> list[tuple[document.Path, str, str]]:
    """Mistakes that no key has by itself. ``given`` are the keys that are there, well or ill; what is ``wrong`` is not
    in ``raw``."""
    loops = [name for name in ("rate", "steps", "concurrency") if name in given]
    targets = bool(raw.targets) or ("targets",) in wrong
    found: list[tuple[document.Path, str, str]] = []
    if len(loops) != 1:
        what = " and ".join(loops) if loops else "neither rate, steps nor concurrency"
        found.append(((loops[-1],) if loops else (), what, "give one of rate, steps and concurrency"))
    if {"steps", "seconds"} <= given:
        found.append((("seconds",), "seconds beside steps", "leave it out: the steps say how long"))
    if raw.concurrency == 0:
        found.append((("concurrency",), "0", "this must be at least 1"))
    if raw.rate is not None and not raw.rate:
        found.append((("rate",), "0", "this must be above 0"))
    if raw.steps is not None and not any(step.rate or step.to for step in raw.steps):
        found.append((("steps",), "steps in which nothing arrives", "give one of them a rate above 0"))
    if ("url" in given) == targets:
        found.append((("url",), "url and targets" if targets else "neither url nor targets", "give one of them"))
    if ("requests",) not in wrong and not any(request.weight for request in raw.requests):
        found.append((("requests",), "no request with a weight above 0", "list at least one"))
    return found + _of_requests(raw, given, wrong)


def _of_requests(raw: RawScenario, given: Set[str], wrong: Set[document.Path]) -> list[tuple[document.Path, str, str]]:
    found: list[tuple[document.Path, str, str]] = []
    names: set[str] = set()
    for i, request in enumerate(raw.requests):
        path = ("requests", i)
        if request.think and "concurrency" not in given:
            found.append(((*path, "think"), "think without concurrency", "only clients of a closed loop think"))
        if request.cancels + request.slows > 1:
            found.append(((*path, "slow"), "the shares of cancel and slow exceed 1", "lower one of them"))
        if wrong & {path, *((*path, part) for part in _NAMING)}:
            continue
        if _name(request) in names:
            found.append((path, f"the name {_name(request)} is taken already", "give it a name of its own"))
        names.add(_name(request))
    return found


_NAMING = ("name", "api", "model", "stream")


def _name(request: LoadRequest) -> str:
    return request.name or " ".join([request.api, request.model, *([] if request.stream else ["whole"])])


def _scenario(raw: RawScenario) -> Scenario:
    seconds = float(raw.seconds or 30.0)
    steps = tuple(RateStep(step.rate, step.seconds, step.to) for step in raw.steps or ())
    if raw.rate is not None:
        steps = (RateStep(raw.rate, seconds),)
    return Scenario(
        targets=raw.targets or {"": str(raw.url)},
        requests=tuple(attrs.evolve(request, name=_name(request)) for request in raw.requests),
        seconds=sum(step.seconds for step in steps) or seconds,
        steps=steps,
        spacing=raw.spacing,
        concurrency=raw.concurrency or 0,
        warmup=raw.warmup,
        grace=raw.grace,
        timeout=raw.timeout,
        connections=raw.connections,
        key_env=raw.key_env,
        headers=tuple(raw.headers.items()),
        strict=raw.strict,
        fail_if=raw.fail_if,
        seed=raw.seed,
    )
