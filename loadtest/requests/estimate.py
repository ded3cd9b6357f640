"""Estimates the tokens of a load before it starts, and summarises its files."""

import math
import random
from collections.abc import Iterator
from typing import Final

import attrs

from configfile.document import ConfigError, Mistake
from loadtest.plan.load_endpoints import can_stream
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.recorded_load import is_recorded, recorded_load, trace_of
from loadtest.plan.scenario import Scenario
from loadtest.requests.file_requests import RequestFile, request_file
from loadtest.requests.made_requests import TOKENS
from loadtest.requests.mix import source_of
from loadtest.requests.sources import PreparedRequest, setting_of
from providers.apis import CODECS

DRAWN: Final = 200
ENOUGH: Final = 4 * 2**20
"""The estimate uses this many sessions, or as many as have this many bytes, so that it is quick."""

_MULTIPLES: Final = ((10**6, " M"), (10**3, " k"))


@attrs.frozen
class TokenEstimate:
    """The tokens of a load: approximate input and maximal output of one session, and the number of sessions on all
    targets, infinite if it depends on the servers."""

    sessions: float
    inputs: float
    outputs: float

    def __str__(self) -> str:
        if math.isfinite(self.sessions):
            inputs, outputs = (_format_tokens(self.sessions * tokens) for tokens in (self.inputs, self.outputs))
            return f"about {inputs} input tokens and at most {outputs} output tokens"
        inputs, outputs = _format_tokens(self.inputs), _format_tokens(self.outputs)
        return (
            f"about {inputs} input tokens and at most {outputs} output tokens per request; the number of requests "
            "depends on the servers"
        )


def token_estimate(plan: Scenario) -> TokenEstimate:
    """Return an estimate from the first sessions of the plan."""
    rng = random.Random(f"{plan.seed} estimate")
    source = source_of(plan.requests, setting_of(plan, next(iter(plan.targets))))
    found: list[tuple[float, float]] = []
    size = 0
    while len(found) < DRAWN and size < ENOUGH:
        session = source.session(len(found), rng)
        first = session.turn(None)
        assert first is not None
        size += len(first.body)
        found.append(_session_tokens(first, session.unbegun + 1))
    inputs, outputs = (math.fsum(tokens) / len(found) for tokens in zip(*found, strict=True))
    return TokenEstimate(len(plan.targets) * _session_count(plan), inputs, outputs)


def _session_tokens(first: PreparedRequest, turns: int) -> tuple[float, float]:
    """Return the input and output tokens of a session. Each turn repeats the earlier ones."""
    inputs = first.asked_input if first.asked_input is not None else len(first.body) / TOKENS
    outputs = first.asked_output or 0 if can_stream(first.request.api) else 0
    return inputs * turns + (inputs + outputs) * turns * (turns - 1) / 2, outputs * turns


def _session_count(plan: Scenario) -> float:
    """Return the number of sessions of all runs on one target, infinite if it depends on their results."""
    if plan.search is not None:
        return math.inf
    loads = [plan.with_load(load) for load in plan.loads] or [plan]
    return plan.repeat * sum(map(_session_count_of_run, loads))


def _session_count_of_run(plan: Scenario) -> float:
    warmup = plan.steps[0].rate * plan.warmup if plan.steps else 0.0
    return warmup + plan.planned_sessions


def _format_tokens(tokens: float) -> str:
    """Format tokens with two digits."""
    for size, name in _MULTIPLES:
        if tokens >= size:
            return f"{tokens / size:.2g}{name}" if tokens < 10 * size else f"{tokens / size:.0f}{name}"
    return f"{tokens:.0f}"


def describe_files(plan: Scenario) -> tuple[str, ...]:
    """Return a summary of each file. Raises ``ConfigError`` with the invalid lines."""
    return tuple(_file_summaries(plan))


def _file_summaries(plan: Scenario) -> Iterator[str]:
    if plan.trace is not None:
        yield trace_of(plan.trace).describe(plan.speed)
    whole = sum(request.weight for request in plan.requests)
    for request in plan.requests:
        if request.requests is None or request.requests == plan.trace:
            continue
        planned = plan.planned_sessions * request.weight / whole if plan.is_open_loop or plan.count else 0.0
        if is_recorded(request.requests):
            recorded = recorded_load(request.requests)
            yield recorded.describe() + _describe_rounds(planned, len(recorded.requests))
            continue
        file = request_file(str(request.requests), request.api)
        _check_model(request, file)
        yield file.describe() + _describe_rounds(planned, len(file))


def _describe_rounds(planned: float, lines: int) -> str:
    """Return how often each line is sent, because a server may cache repeated ones."""
    often = planned / lines
    return f"; {round(planned):,} requests are planned, so each is sent about {often:.3g} times" if often > 1 else ""


def _check_model(request: LoadRequest, file: RequestFile) -> None:
    """Raise ``ConfigError`` if requests have no model."""
    named = {f"bodies of {api}" for api, codec in CODECS.items() if codec.wire.model_member is not None}
    nameless = sum(count for form, count in file.forms.items() if form not in named)
    if nameless and not request.model:
        what = f"{nameless:,} of {len(file):,} requests have no model" if len(file) > 1 else "the request has no model"
        raise ConfigError((Mistake(file.name, "", f"the model is missing: {what}", "add --model MODEL"),))
