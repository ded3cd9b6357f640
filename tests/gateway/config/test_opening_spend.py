"""The key ``opening_spend``: mistakes, and its place in a running gateway."""

import pytest

from configfile.document import ConfigError
from gateway.config_files.loading import from_mapping
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import config, provider

KEY = "sk-opening-spend-1234567890"
LATER = "2999-01-01"


def _content(*items):
    return {
        "version": "v0.4.0", "model_providers": [{"model": "openai/gpt-5", "access_key": "k"}],
        "client_keys": [{"name": "a", "key": KEY, "budgets": ["5 usd/day"]}], "opening_spend": list(items),
    }  # fmt: skip


@each_row(
    ("item", "found"),
    [
        ({"spent": "5 usd/day", "until": LATER}, "expected an amount such as 2 usd or 500k tokens"),
        ({"spent": 5, "until": LATER}, "expected an amount such as 12.5 usd or 500k tokens"),
        ({"spent": "5 usd"}, "until"),
        ({"until": LATER}, "spent"),
        ({"spent": "5 usd", "until": LATER, "client": "a", "group": "b"}, "the item has a client, too"),
    ],
)
def test_a_mistake_is_reported(item, found):
    with pytest.raises(ConfigError, match=found):
        from_mapping(_content(item))


@pytest.mark.parametrize("owner", ["client", "group"])
def test_an_unknown_owner_has_no_effect(owner):
    (mistake,) = from_mapping(_content({"spent": "5 usd", "until": LATER, owner: "b"})).ineffective
    assert "is called b" in mistake.found


def test_a_period_that_has_ended_is_noted():
    given = from_mapping(_content({"spent": "5 usd", "until": "2020-01-01", "client": "a"}))
    assert "you may remove it" in given.notes[0]


@pytest.mark.parametrize("storage", [{}, {"state_storage": {"type": "sqlite"}}], ids=["memory", "ledger"])
def test_a_client_that_has_spent_its_budget_before_the_move_gets_402(tmp_path, storage):
    if storage:
        storage = {"state_storage": {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}}
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    clients = [{"name": name, "key": f"{KEY}-{name}", "budgets": ["5 usd/30d"]} for name in ("old", "new")]
    opening = [{"client": "old", "spent": "5 usd", "until": LATER}]
    with mock_thread() as mock:
        entry = provider("compatible/mock-small", f"{mock.url}/v1", name="demo", price={"input": 1, "output": 2})
        settings = config([entry], client_keys=clients, opening_spend=opening, **storage)
        with gateway_thread(settings) as gateway:
            replies = {
                name: gateway.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {KEY}-{name}"})
                for name in ("old", "new")
            }
    assert {name: reply.status for name, reply in replies.items()} == {"old": 402, "new": 200}
    assert b"exhausted (5 usd of 5 usd)" in replies["old"].body
