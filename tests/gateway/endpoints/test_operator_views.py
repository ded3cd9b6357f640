"""``/metrics`` and ``/readyz?verbose``: the clients that may read them."""

from typing import Any

import pytest

from configfile.document import ConfigError
from gateway.allowances.allowances import Allowances
from gateway.config_files.loading import from_mapping
from gateway.config_reports.changes import changes, key_changes
from gateway.config_reports.warnings import warnings_of
from gateway.counters.counter import Claim, Debit
from gateway.endpoints.health import limit_fields, visible_limits
from gateway.logs.masking import MASKED, Mask
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.in_process import gateway

METRICS, UI = "the-metrics-key-0123456789", "the-ui-key-0123456789"
CLIENT, LIMITED, WRONG = "a-client-key-0123456789", "a-limited-key-0123456789", "no-key-of-this-gateway-01234"
KEYS = [{"name": "all", "key": CLIENT}, {"name": "some", "key": LIMITED, "models": ["one"]}]
VERBOSE = "/readyz?verbose"
PATHS = (*rows_of("metrics", "/metrics"), VERBOSE)
SHOWN = (None, CLIENT, LIMITED, METRICS, UI, WRONG)

RULES = [
    ({}, {}, [200, 200, 200, 200, 200, 200]),
    ({"ui_key": UI}, {}, [200, 200, 200, 200, 200, 200]),
    ({"metrics_key": METRICS}, {}, [401, 401, 401, 200, 401, 401]),
    ({"metrics_key": METRICS, "ui_key": UI}, {}, [401, 401, 401, 200, 200, 401]),
    ({"client_keys": KEYS}, {}, [401, 200, 403, 401, 401, 401]),
    ({"client_keys": KEYS, "ui_key": UI}, {}, [401, 403, 403, 401, 200, 401]),
    ({"client_keys": KEYS, "metrics_key": METRICS}, {}, [401, 403, 403, 200, 401, 401]),
    ({"client_keys": KEYS, "metrics_key": METRICS, "ui_key": UI}, {}, [401, 403, 403, 200, 200, 401]),
    *rows_of("metrics", ({"client_keys": KEYS, "metrics_key": METRICS, "metrics": {"open": True}},
                         {"/metrics": [200] * 6}, [401, 403, 403, 200, 401, 401])),
]  # fmt: skip


def content(**more: Any) -> dict[str, Any]:
    entry = {"model": "openai/one", "access_key": "k", "base_url": "http://127.0.0.1:1"}
    return {"version": "v0.3.0", "model_providers": [entry], **more}


@each_row(("more", "other", "statuses"), RULES, every=2)
async def test_only_operators_may_read_the_views_of_all_clients(more, other, statuses):
    async with gateway(content(**more)) as running:
        for path in PATHS:
            with case(path):
                found = [await running.get(path, key) for key in SHOWN]
                assert [reply.status_code for reply in found] == other.get(path, statuses)
                told = [reply for reply in found if reply.status_code != 200]
                assert not [one for one in told if "trigate_" in one.text or "targets" in one.text]
                assert not [one for one in told for key in SHOWN if key and key in one.text]
        assert (await running.get("/readyz")).status_code == 200


async def test_the_refusal_reports_the_required_key():
    async with gateway(content(client_keys=KEYS, metrics_key=METRICS)) as running:
        message = (await running.get(VERBOSE, CLIENT)).json()["error"]["message"]
        assert "metrics_key" in message
        assert "'all'" in message


async def test_guesses_of_the_key_are_slowed_down():
    async with gateway(content(metrics_key=METRICS)) as running:
        found = [(await running.get(VERBOSE, f"{WRONG}{number}")).status_code for number in range(35)]
        assert (found[0], found[-1]) == (401, 429)
        assert (await running.get(VERBOSE, METRICS)).status_code == 200


async def test_another_operator_key_applies_after_a_reload():
    async with gateway(content(client_keys=KEYS, metrics_key=METRICS)) as running:
        running.reload(content(client_keys=KEYS, metrics_key=WRONG))
        assert [(await running.get(VERBOSE, key)).status_code for key in (METRICS, WRONG)] == [401, 200]


def test_the_key_is_kept_as_its_digest_and_masked():
    before, after = from_mapping(content()), from_mapping(content(metrics_key=METRICS))
    assert METRICS not in repr(after)
    assert [str(change) for change in changes(before, after)] == ["~ metrics_key added"]
    assert key_changes(before, after)["added"] == ("metrics_key",)
    mask = Mask()
    mask.apply_config(after)
    assert mask(f"a line with {METRICS}") == f"a line with {MASKED}"
    with pytest.raises(ConfigError, match="metrics_key: the key is empty"):
        from_mapping(content(metrics_key=""))


def key_warnings(**more: Any) -> list[str]:
    return [text for text in warnings_of(from_mapping(content(**more))) if "metrics_key" in text]


def test_check_warns_if_client_keys_can_read_the_spending_of_others():
    (warning,) = key_warnings(client_keys=KEYS)
    assert warning.startswith("client_keys: all can read the usage of all clients")
    assert not key_warnings(client_keys=KEYS, metrics_key=METRICS)
    assert not key_warnings(client_keys=KEYS, ui_key=UI)
    assert not key_warnings(client_keys=KEYS[:1])
    assert not key_warnings(client_keys=[KEYS[1], {**KEYS[1], "name": "b", "key": WRONG}])
    assert not key_warnings()
    assert "too short" not in key_warnings(client_keys=KEYS)
    (short,) = key_warnings(metrics_key="short")
    assert "can be guessed" in short


# Limits and budgets in the live view: only those that the viewer may see, the most exhausted first


CONFIG = {
    "version": "v0.3.0",
    "model_providers": [{"model": "openai/gpt-4o", "access_key": "x", "name": "small", "budgets": ["50 usd/day"]}],
    "client_groups": [{"name": "team", "budgets": ["100 usd/month", "5 usd/run"]}],
    "client_keys": [
        {"name": "alice", "key": "alices-key-0123456789", "group": "team", "budgets": ["2k tokens/day"]},
        {"name": "ben", "key": "bens-key-0123456789xyz", "budgets": ["10 usd/day"]},
    ],
}


async def spend(allowances: Allowances, client: str, used: int, held: int) -> None:
    one = allowances.of_client(client)[0]
    counter = one.counter(allowances.now(), None)
    assert counter is not None
    for amount in (used, held):
        claim = Claim(f"{client}{amount}", (Debit(counter, amount),))
        assert not await allowances.counters.reserve([claim])
        if amount == used:
            allowances.counters.settle(claim, [used])


async def test_operators_see_all_rows_and_clients_their_own():
    """The view showed a tenth of the costs; operators learned of the rest from the bill (managoat/fountain#1038)."""
    allowances = Allowances(from_mapping(CONFIG))
    await spend(allowances, "alice", 1200, 400)
    everything = await visible_limits(allowances, None)
    assert limit_fields(everything[0]) == {
        "holder": "client_keys.alice", "limit": "budgets", "text": "2k tokens/day", "measure": "tokens", "used": 1200,
        "held": 400, "most": 2000,
    }  # fmt: skip
    assert sorted(str(one.holder) for one in everything) == [
        "client_groups.team", "client_keys.alice", "client_keys.ben", "model_providers.small",
    ]  # fmt: skip
    own = await visible_limits(allowances, "alice")
    assert [str(one.holder) for one in own] == ["client_keys.alice", "client_groups.team"]
    assert await visible_limits(allowances, "nobody") == []
