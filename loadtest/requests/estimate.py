"""What a load will take in tokens, as far as it can be known before: who pays for them wants to know it then."""

import math
import random
from typing import Final

import attrs

from loadtest.plan.load_endpoints import streams
from loadtest.plan.scenario import Scenario
from loadtest.requests.calibration import TOKENS
from loadtest.requests.mix import source_of
from loadtest.requests.setting import setting_of
from loadtest.requests.sources import PreparedRequest

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
