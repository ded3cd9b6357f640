"""What a load will take in tokens, as far as it can be known before, and what was found in its files."""

import math
import random
from collections.abc import Iterator
from typing import Final

import attrs

from configfile.document import ConfigError, Mistake
from loadtest.plan.load_endpoints import streams
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
"""So many sessions are looked at, or as many as come to so many bytes: an estimate is to be had at once."""

_MULTIPLES: Final = ((10**6, " M"), (10**3, " k"))


@attrs.frozen
class TokenEstimate:
    """Tokens of prompts, about, and of answers, at most: of one session (a request, or a conversation), and how many of
    these there will be on all targets; infinite where that depends on the servers."""

    sessions: float
    inputs: float
    outputs: float

    def __str__(self) -> str:
        if math.isfinite(self.sessions):
            inputs, outputs = (_told(self.sessions * tokens) for tokens in (self.inputs, self.outputs))
            return f"about {inputs} tokens in, {outputs} out at most"
        inputs, outputs = _told(self.inputs), _told(self.outputs)
        return f"about {inputs} tokens in and {outputs} out at most each time; how often, the servers decide"


def token_estimate(plan: Scenario) -> TokenEstimate:
    """From the first sessions of the plan as they would be sent."""
    chance = random.Random(f"{plan.seed} estimate")
    source = source_of(plan.requests, setting_of(plan, next(iter(plan.targets))))
    found: list[tuple[float, float]] = []
    size = 0
    while len(found) < DRAWN and size < ENOUGH:
        session = source.session(len(found), chance)
        first = session.turn(None)
        assert first is not None
        size += len(first.body)
        found.append(_of_session(first, session.unbegun + 1))
    inputs, outputs = (math.fsum(tokens) / len(found) for tokens in zip(*found, strict=True))
    return TokenEstimate(len(plan.targets) * _sessions(plan), inputs, outputs)


def _of_session(first: PreparedRequest, turns: int) -> tuple[float, float]:
    """Each further turn has all that was said before in it."""
    inputs = first.asked_input if first.asked_input is not None else len(first.body) / TOKENS
    outputs = first.asked_output or 0 if streams(first.request.api) else 0
    return inputs * turns + (inputs + outputs) * turns * (turns - 1) / 2, outputs * turns


def _sessions(plan: Scenario) -> float:
    """Of all runs on one target; infinite where it depends on what comes of them."""
    if plan.search is not None:
        return math.inf
    loads = [plan.at(load) for load in plan.loads] or [plan]
    return plan.repeat * sum(map(_of_one_run, loads))


def _of_one_run(plan: Scenario) -> float:
    warmup = plan.steps[0].rate * plan.warmup if plan.steps else 0.0
    return warmup + plan.planned


def _told(tokens: float) -> str:
    """Two figures: it is an estimate."""
    for size, name in _MULTIPLES:
        if tokens >= size:
            return f"{tokens / size:.2g}{name}" if tokens < 10 * size else f"{tokens / size:.0f}{name}"
    return f"{tokens:.0f}"


def found_in_files(plan: Scenario) -> tuple[str, ...]:
    """A sentence for each file. Raises ``ConfigError`` with the lines that cannot be sent."""
    return tuple(_sentences(plan))


def _sentences(plan: Scenario) -> Iterator[str]:
    if plan.trace is not None:
        yield trace_of(plan.trace).describe(plan.speed)
    whole = sum(request.weight for request in plan.requests)
    for request in plan.requests:
        if request.requests is None or request.requests == plan.trace:
            continue
        planned = plan.planned * request.weight / whole if plan.open_loop or plan.count else 0.0
        if is_recorded(request.requests):
            recorded = recorded_load(request.requests)
            yield recorded.describe() + _rounds(planned, len(recorded.requests))
            continue
        file = request_file(str(request.requests), request.api)
        _check_model(request, file)
        yield file.describe() + _rounds(planned, len(file))


def _rounds(planned: float, lines: int) -> str:
    """How often each is sent: what was sent before, a server may have in its cache."""
    often = planned / lines
    return f"; {round(planned):,} are planned, so that each is sent about {often:.3g} times" if often > 1 else ""


def _check_model(request: LoadRequest, file: RequestFile) -> None:
    """Raises ``ConfigError``."""
    named = {f"bodies of {api}" for api, codec in CODECS.items() if codec.wire.model_member is not None}
    nameless = sum(count for form, count in file.forms.items() if form not in named)
    if nameless and not request.model:
        what = f"{nameless:,} of {len(file):,} requests name none" if len(file) > 1 else "the request names none"
        raise ConfigError((Mistake(file.name, "", f"no model: {what}", "give --model MODEL"),))
