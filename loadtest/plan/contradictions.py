"""Mistakes across the keys of a scenario: conflicting keys, and references to unknown parts of the load."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import Final, Protocol, TypeAlias

from configfile import document
from loadtest.figures.conditions import parse_condition, parse_until
from loadtest.plan.comparison import UnknownPart, part_of
from loadtest.plan.kinds import HTTP_1
from loadtest.plan.load_endpoints import LOAD_ENDPOINTS, PREVIOUS, SEVERAL_TEXTS, can_stream
from loadtest.plan.load_request import EVER, PROMPT, RESULTS, LoadRequest
from loadtest.plan.objectives import parse_objectives
from loadtest.plan.raw_scenario import RawRateStep, RawScenario
from loadtest.plan.recorded_load import is_recorded
from loadtest.plan.scenario import AS_RECORDED, Scenario

_AUTOMATIC_HEADERS: Final = frozenset(("host", "content-length", "transfer-encoding"))


_Mistake: TypeAlias = tuple[document.Path, str, str]
"""The path of a key, the finding there, and the advice."""


class _PartReference(Protocol):
    @property
    def of(self) -> str: ...


def contradictions(raw: RawScenario, given: Set[str], wrong: Set[document.Path]) -> Iterator[_Mistake]:
    """Yield mistakes across keys. ``given`` are all present keys; keys in ``wrong`` are missing from ``raw``."""
    open_loops = [name for name in ("rate", "steps", "trace") if name in given]
    targets = bool(raw.targets) or ("targets",) in wrong
    if len(open_loops) > 1:
        yield (open_loops[-1],), " and ".join(open_loops), "set one of rate, steps and trace"
    if not open_loops and "concurrency" not in given and not has_only_recordings(raw):
        yield (), "neither rate, steps nor concurrency is set", "give one of them, or a trace"
    if is_recorded(raw.trace):
        yield ("trace",), "a directory", "recordings are sent with requests: DIR, at their recorded intervals"
    if {"steps", "seconds"} <= given:
        yield ("seconds",), "seconds does not work with steps", "remove it: the steps set the duration"
    if raw.respect_retry_after and open_loops:
        what = "respect_retry_after works only with concurrency"
        yield ("respect_retry_after",), what, "remove it: requests start at their planned times"
    if raw.steps is not None:
        yield from _step_mistakes(raw.steps, given)
    if ("url" in given) == targets:
        what = "both url and targets are set" if targets else "neither url nor targets is set"
        yield ("url",), what, "give one of them"
    if ("requests",) not in wrong and not any(request.weight for request in raw.requests):
        yield ("requests",), "no request has a weight above 0", "list at least one"
    for key in ("rate", "max_rate", "max_concurrency", "repeat"):
        if getattr(raw, key) == 0:
            yield (key,), "0", "expected above 0"
    yield from _protocol_mistakes(raw)
    yield from _unused_keys(raw, given)
    yield from _part_mistakes(raw, wrong)
    yield from _request_mistakes(raw, given, wrong)


def _protocol_mistakes(raw: RawScenario) -> Iterator[_Mistake]:
    if raw.http != HTTP_1 and any(request.slow for request in raw.requests):
        told = "remove one of them: the streams of a connection share its reads"
        yield ("http",), "2 does not work with requests that have slow", told
    if raw.http != HTTP_1 and any(request.websocket for request in raw.requests):
        yield ("http",), "2 does not work with WebSockets", "remove one of them: WebSockets start with HTTP/1.1"
    for name in raw.headers:
        if name.lower() in _AUTOMATIC_HEADERS:
            yield ("headers", name), "each request has this header already", "leave it out"


def _unused_keys(raw: RawScenario, given: Set[str]) -> Iterator[_Mistake]:
    """Yield mistakes for keys without effect in this load, because their author expects an effect."""
    timed = "trace" in given or not {"rate", "steps", "concurrency"} & given
    if raw.speed != AS_RECORDED and not timed:
        told = "only traces, and recordings without a rate, have intervals: set trace, or remove it"
        yield ("speed",), "speed needs a trace", told
    if "streams_per_connection" in given and raw.http == HTTP_1:
        told = "with HTTP/1.1, each exchange has its own connection: set http: 2"
        yield ("streams_per_connection",), "streams_per_connection needs http: 2", told
    for i, request in enumerate(raw.requests):
        for key, found, expected in _unused_request_keys(request, raw.trace is not None):
            yield ("requests", i, key), found, expected


def _unused_request_keys(request: LoadRequest, traced: bool) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of a request without effect."""
    beside = "requests" if request.requests else "a trace"
    if request.order != "file" and not request.requests:
        yield "order", "order needs requests", "only requests of a file have an order: set requests"
    if request.order != "file" and is_recorded(request.requests):
        yield "order", "order does not work with recordings", "remove it: they are sent in their recorded order"
    if request.prompt != PROMPT and (request.requests or traced):
        yield "prompt", f"prompt does not work with {beside}", "remove it: the lengths come from there"
    if request.images and request.requests:
        yield "images", "images does not work with requests", "remove it: only generated prompts can have images"
    if request.tool_results != RESULTS and not (request.turns.has_several or request.requests or traced):
        yield "tool_results", "tool_results needs turns", "only conversations continue after a tool call: set turns"
    if request.think_cap != EVER and not (request.think.has_pauses or request.requests or traced):
        yield "think_cap", "think_cap needs think", "set think: without it, there are no pauses"


def _step_mistakes(steps: Sequence[RawRateStep], given: Set[str]) -> Iterator[_Mistake]:
    for number, step in enumerate(steps):
        if (step.rate is None) == (step.concurrency is None):
            what = "neither rate nor concurrency is set" if step.rate is None else "both rate and concurrency are set"
            yield ("steps", number), what, "set one of them: requests per second, or clients"
        elif (step.rate is None) != (steps[0].rate is None):
            told = "set rate for all steps, or concurrency for all steps"
            yield ("steps", number), "some steps have rate, others concurrency", told
        elif step.rate is None and step.to is not None and not float(step.to).is_integer():
            yield ("steps", number, "to"), f"{step.to:g} clients", "expected a whole number"
    if not any(step.rate or step.concurrency or step.to for step in steps):
        yield ("steps",), "no step has any requests", "set a rate above 0 for at least one step"
    elif steps[0].rate is None and {"concurrency", "warmup"} & given:
        key = "concurrency" if "concurrency" in given else "warmup"
        told = "remove it: the first step can serve as the warm-up"
        yield ("steps",), f"{key} does not work with steps of clients", told


def _part_mistakes(raw: RawScenario, wrong: Set[document.Path]) -> Iterator[_Mistake]:
    """Yield mistakes for conditions and objectives about unknown targets and requests."""
    if wrong:
        return  # an invalid one may have that name
    texts = {"fail_if": raw.fail_if, "until": raw.until, "slo": raw.slo}
    for key, error in unknown_parts(texts, raw.targets or {}, tuple(map(name_of, raw.requests))):
        yield (key,), error.found, error.expected


def unknown_parts(
    texts: Mapping[str, Iterable[str]], targets: Collection[str], kinds: Collection[str]
) -> Iterator[tuple[str, UnknownPart]]:
    """Yield an error for each unknown part in conditions and objectives, with their key."""
    for key, found in texts.items():
        names = [one.of for text in found for one in READERS[key](text)]
        for name in dict.fromkeys(names):
            try:
                part_of(name, targets, kinds)
            except UnknownPart as error:
                yield key, error


READERS: Final[Mapping[str, Callable[[str], Sequence[_PartReference]]]] = {
    "fail_if": lambda text: (parse_condition(text).comparison,),
    "until": lambda text: (parse_until(text),),
    "slo": parse_objectives,
}
"""The parsers of these keys. All raise ``InvalidCondition``."""


def _request_mistakes(raw: RawScenario, given: Set[str], wrong: Set[document.Path]) -> Iterator[_Mistake]:
    names: set[str] = set()
    for i, request in enumerate(raw.requests):
        path = ("requests", i)
        for key, found, expected in (
            *_turn_mistakes(request, given), *_api_mistakes(request), *_prefix_mistakes(raw, request),
        ):  # fmt: skip
            yield (*path, key), found, expected
        if not (request.model or request.requests or wrong & {path, (*path, "model")}):
            yield (*path, "model"), "missing", "this is required"
        if request.cancel_share + request.slow_share > 1:
            yield (*path, "slow"), "the shares of cancel and slow exceed 1", "lower one of them"
        if wrong & {path, *((*path, part) for part in _NAMING)}:
            continue
        if name_of(request) in names:
            yield path, f"another request has the name {name_of(request)}", "give it another name"
        names.add(name_of(request))


def _turn_mistakes(request: LoadRequest, given: Set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the mistakes in keys about turns."""
    closed = "concurrency" in given and not {"rate", "steps", "trace"} & given
    several = request.turns.has_several
    if several and request.requests:
        told = "remove it: the conversations of a file have their own turns"
        yield "turns", "turns does not work with requests", told
    if request.think.has_pauses and not closed and not (several or request.requests):
        told = "only concurrency and conversations have pauses: set concurrency or turns"
        yield "think", "think needs concurrency or turns", told
    if request.follow_up.lengths is not None and not several:
        yield "follow_up", "follow_up needs turns", "only conversations have a second turn: set turns"
    if request.history == "server" and request.api not in PREVIOUS:
        what = f"history: server does not work with {request.api}"
        yield "history", what, f"only {' and '.join(PREVIOUS)} store earlier turns"


def _api_mistakes(request: LoadRequest) -> Iterator[tuple[str, str, str]]:
    """Yield the mistakes for features that the API does not have."""
    api = request.api
    if api in LOAD_ENDPOINTS and request.turns.has_several:
        yield "turns", f"turns does not work with {api}", "only conversations have several turns"
    if api in LOAD_ENDPOINTS and request.images:
        yield "images", f"images does not work with {api}", "only conversations can have images"
    if request.exact and api in LOAD_ENDPOINTS and not can_stream(api):
        yield "exact", f"exact does not work with {api}", "only answers in tokens have a length: remove it"
    if request.texts > 1 and api not in SEVERAL_TEXTS:
        yield "texts", f"texts does not work with {api}", f"only {', '.join(SEVERAL_TEXTS)} support several texts"
    if request.websocket and (api != "responses" or not request.stream):
        what = api if api != "responses" else "whole answers"
        yield "websocket", f"websocket does not work with {what}", "only streams of the responses API can use one"


def _prefix_mistakes(raw: RawScenario, request: LoadRequest) -> Iterator[tuple[str, str, str]]:
    """Yield mistakes in shared prefixes.

    The first request with each text fills the cache, so it belongs in the warm-up.
    """
    if request.prefix is None:
        return
    rate = raw.rate or (raw.steps[0].rate if raw.steps else 0.0)
    texts = f"{request.prefix.texts} shared text{'s' * (request.prefix.texts > 1)}"
    if request.requests or raw.trace:
        told = "remove one: only generated prompts have a prefix"
        yield "prefix", "prefix does not work with requests or a trace", told
    elif not raw.warmup:
        told = "set warmup: the first requests with each text should not count"
        yield "prefix", f"{texts} need a warm-up", told
    elif rate:
        weights = sum(one.weight for one in raw.requests)
        each = rate * request.weight / weights if weights else 0.0
        if each and each * raw.warmup < request.prefix.texts:
            needed = math.ceil(request.prefix.texts / each)
            found = f"{texts} need a longer warm-up: {raw.warmup:g} s have {each * raw.warmup:.3g} requests"
            told = f"set a warmup of at least {needed} s: the first requests with each text should not count"
            yield "prefix", found, told


_NAMING = ("name", "api", "model", "stream")


def name_of(request: LoadRequest) -> str:
    if request.requests and is_recorded(request.requests):
        return request.name or request.requests.name
    whole = "" if request.stream or not can_stream(request.api) else "whole"
    words = (request.api, request.model, whole, "websocket" if request.websocket else "")
    return request.name or " ".join(filter(None, words))


def has_only_recordings(raw: RawScenario) -> bool:
    """Return whether the only requests are recordings, which have their own start times."""
    return len(raw.requests) == 1 and is_recorded(raw.requests[0].requests)


def indivisible_reason(plan: Scenario) -> tuple[str, str] | None:
    """Return why a plan cannot be divided into parts, and the solution, or ``None``."""
    alone = "parts do not communicate"
    reasons = (
        (len(plan.targets) > 1, "several targets", "load one target at a time: all parts start together"),
        (bool(plan.loads) or plan.repeat > 1, "several runs", "do one run at a time: all parts start together"),
        (plan.search is not None, "a search", f"search on one machine (--processes): {alone}"),
        (bool(plan.until), "--until", f"use --fail-if, which trigate load merge checks: {alone}"),
        (plan.max_tokens is not None, "--max-tokens", f"use -n or --seconds: {alone}"),
        (
            0 < plan.concurrency < plan.part.of * plan.processes,
            f"{plan.concurrency} concurrent requests for {plan.part.of * plan.processes} processes",
            "use more, or fewer parts",
        ),
    )
    return next(((f"not possible in parts: {found}", expected) for true, found, expected in reasons if true), None)
