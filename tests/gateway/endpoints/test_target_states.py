"""The states of targets that operators see: ``/readyz?verbose``, the metrics."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from tests.support import in_process
from tests.support.features import needs_feature
from tests.support.in_process import InProcess

OPERATOR, LIMITED = "the-operators-key-0123456789", "a-limited-key-0123456789"
PROVIDER_KEY = "the-providers-key-0123456789"
ONE = {"model": "openai/m", "name": "one", "access_key": PROVIDER_KEY}
TWO = {"model": "mistral/m", "name": "two", "access_key": PROVIDER_KEY}
KEYS = [{"name": "operator", "key": OPERATOR}, {"name": "limited", "key": LIMITED, "models": ["one"]}]


def gateway(**more: Any) -> AbstractAsyncContextManager[InProcess]:
    return in_process.gateway({"version": "v0.4.0", "model_providers": [ONE, TWO], **more})


async def test_readyz_lists_the_state_reason_and_end_for_each_target():
    """No view showed which deployment was out, and for how long (Continuum-AI-Corp/OrcaRouter-Lite#121)."""
    async with gateway() as running:
        running.fail("one", "rate_limited", 60.0)
        answer = await running.get("/readyz?verbose")
        assert answer.status_code == 200
        out, well = answer.json()["targets"]
        assert well == {"target": "two", "state": "in", "open": 0}
        assert 59 < out.pop("seconds") <= 60
        assert out.pop("until").endswith("Z")
        assert out == {"target": "one", "state": "out", "reason": "rate_limited", "open": 0}
        assert (await running.get("/readyz")).json() == {"status": "ready"}
        assert PROVIDER_KEY not in answer.text


async def test_readyz_reports_it_also_while_the_process_drains():
    async with gateway() as running:
        running.service.lifecycle.draining = True
        answer = await running.get("/readyz?verbose")
        assert (answer.status_code, answer.json()["status"], len(answer.json()["targets"])) == (503, "draining", 2)


@needs_feature("metrics")
async def test_the_metrics_have_each_entry_and_how_often_it_was_out():
    async with gateway() as running:
        running.fail("one", "quota")
        page = (await running.get("/metrics")).text.splitlines()
        assert 'trigate_targets_out{entry="one"} 1.0' in page
        assert 'trigate_targets_out{entry="two"} 0.0' in page
        assert 'trigate_target_outages_total{entry="one",reason="quota"} 1.0' in page
