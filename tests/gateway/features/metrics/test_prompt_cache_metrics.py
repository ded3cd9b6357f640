"""Metrics of providers' prompt caches: each verdict once, by client, provider, model and cause, with bounded labels."""

from typing import Any, get_args

import attrs
import pytest

from gateway.config_files.loading import from_mapping
from gateway.features.metrics.metrics import Metrics, open_metrics
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.ledger import Ledger
from gateway.seams.observers import observation_of
from tests.support.harness import config, provider
from tests.support.metrics_page import Numbers, page_of

verdicts: Any = pytest.importorskip(
    "gateway.features.prompt_caches.interface", reason="the gateway has no feature prompt_caches"
)

TOKENS, LOST = "trigate_prompt_cache_tokens_total", "trigate_prompt_cache_lost_dollars_total"
CONTRADICTIONS = "trigate_prompt_cache_contradictions_total"
NAMES = get_args(verdicts.CauseName)


@pytest.fixture
def metrics() -> Metrics:
    found = open_metrics(from_mapping(config([provider("openai/m", "http://x")], 1)))
    assert isinstance(found, Metrics)
    return found


@pytest.fixture
def ledger(metrics) -> Ledger:
    found = Ledger()
    observation_of(found).hooks += (metrics.observe_exchange,)
    return found


def attempt(verdict: Any, loss: Any = None, model: str = "openai/m") -> AttemptRecord:
    record = AttemptRecord("m", model.partition("/")[0], "chat", "byte", model=model)
    return (
        record
        if verdict is None
        else attrs.evolve(record, notes={verdicts.NOTE: verdicts.JudgedAttempt(verdict, loss)})
    )


def settle(ledger: Ledger, *attempts: AttemptRecord) -> None:
    record = ledger.open("id", "chat")
    record.target, record.lane, record.attempts = "openai/m", "byte", len(attempts)
    record.bill.attempt_records = attempts
    ledger.settle(record, disconnected=False)


def share_of(name: str, tokens: int, at: str | None = None) -> Any:
    return verdicts.CauseShare(name, at, tokens)


def test_a_verdict_is_counted_by_kind_and_cause(metrics, ledger):
    causes = share_of("system", 40_000), share_of("provider", 9_280)
    verdict = verdicts.CacheVerdict(could=51_200, readable=11_200, read=1_920, missed=49_280, causes=causes)
    settle(ledger, attempt(verdict, verdicts.CacheLoss(170_016_000, (150_000_000, 20_016_000), "exact")))
    now = Numbers(page_of(metrics))
    where = {"provider": "openai", "model": "m", "client": "none"}
    kinds = {kind: now(TOKENS, kind=kind, **where) for kind in ("could", "read", "missed")}
    assert kinds == {"could": 51_200, "read": 1_920, "missed": 49_280}
    assert now(TOKENS, kind="missed", cause="system") == 40_000
    assert now(LOST, cause="system", **where) == pytest.approx(0.15)
    assert now(LOST, cause="provider", **where) == pytest.approx(0.020016)
    assert now(CONTRADICTIONS) == 0


def test_a_small_miss_is_counted_without_a_cause(metrics, ledger):
    settle(ledger, attempt(verdicts.CacheVerdict(could=51_200, readable=51_200, read=51_000, missed=200)))
    now = Numbers(page_of(metrics))
    assert (now(TOKENS, kind="missed", cause="none"), now(LOST)) == (200, 0)


def test_a_contradiction_is_counted_and_costs_nothing(metrics, ledger):
    contradiction = share_of("unknown", 9_000, "contradiction")
    verdict = verdicts.CacheVerdict(could=10_000, readable=1_000, read=1_000, missed=9_000, causes=(contradiction,))
    settle(ledger, attempt(verdict, verdicts.CacheLoss(0, (0,), "exact")))
    now = Numbers(page_of(metrics))
    assert (now(CONTRADICTIONS, provider="openai", model="m", client="none"), now(LOST)) == (1, 0)


def test_names_that_the_configuration_lacks_are_no_labels(metrics, ledger):
    verdict = verdicts.CacheVerdict(could=10_000, read=10_000)
    settle(ledger, attempt(verdict, model="made-up/sk-secret"))
    page = page_of(metrics)
    assert Numbers(page)(TOKENS, provider="other", model="other", kind="could") == 10_000
    assert "made-up" not in page
