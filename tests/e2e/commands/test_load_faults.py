"""Tests of the load tester's reports about every fault of a provider."""

from functools import partial

import pytest
import trio

from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import mock_thread
from tests.support.load_servers import load

WHOLE = None
FAULTS = {
    "mock-small": WHOLE,
    "fault/cut-after-3": ("closed", "stream"),
    "fault/reset-after-3": ("reset", "stream"),
    "fault/half-an-event": ("cut", "stream"),
    "fault/no-finish": ("cut", "stream"),
    "fault/garbage": ("grammar: frame.json", "stream"),
    "fault/error-event": ("error event", "stream"),
    "fault/error-first": ("error event", "first token"),
    "fault/html": ("no stream", "first token"),
    "fault/empty-stream": ("no stream", "first token"),
    "fault/stall": ("timeout", "stream"),
    "fault/silent": ("timeout", "first byte"),
    "fault/429": ("status 429", "first byte"),
    "fault/529": ("status 529", "first byte"),
    "fault/wrong-content-type": WHOLE,
    "fault/gzip": ("encoding", "first byte"),
    "fault/crlf": WHOLE,
    "fault/comments": WHOLE,
}
UNCOUNTED = {
    "chat": WHOLE,
    "messages": "grammar: messages.message.shape",
    "responses": "grammar: responses.usage.there",
}
PATIENCE = {"fault/stall": 2, "fault/silent": 0.3}


@pytest.fixture(scope="module")
def mock():
    with mock_thread() as process:
        yield process.url


async def test_each_fault_has_its_kind_and_phase(mock):
    expected = {(api, model): end for api in OLDER for model, end in FAULTS.items()}
    expected |= {(api, "fault/no-usage"): rule and (rule, "stream") for api, rule in UNCOUNTED.items()}
    found = {}

    async def run_load(api, model):
        run = await load(mock, model=model, api=api, rate=10, seconds=0.1, timeout=PATIENCE.get(model, 60))
        rows = [(kind_without_type(row.kind), row.phase) for row in run.tally.failures]
        found[api, model] = rows[0] if rows else WHOLE
        assert run.tally.counts["started"] == 1
        assert run.tally.counts["whole"] == (not rows)

    for is_timed in (False, True):  # simultaneous loads would delay the first words beyond the timeout
        async with trio.open_nursery() as nursery:
            for api, model in expected:
                if (model in PATIENCE) == is_timed:
                    nursery.start_soon(run_load, api, model)
    assert found == expected


def kind_without_type(name: str) -> str:
    """Remove the type of an error event, because it differs by API."""
    return "error event" if name.startswith("error event: ") else name


@each_row("api", OLDER)
async def test_whole_answers_are_judged_too(mock, api):
    ask = partial(load, mock, rate=10, seconds=0.1)
    good = await ask(model="mock-small", api=api, stream=False)
    assert good.tally.counts["whole"] == 1
    assert good.tally.tokens > 10
    assert good.tally.measures["ttft"].count == 0
    cut = await ask(model="fault/cut-after-3", api=api, stream=False)
    assert [(row.kind, row.phase) for row in cut.tally.failures] == [("closed", "first token")]
    assert cut.tally.counts["not_whole"] == 0
