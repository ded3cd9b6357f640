"""Prompt caches from requests to reports: the log, the ledger, ``trigate cache``, metrics and the live view agree.

The provider is the stand-in, which counts its cache by Anthropic's documented rules and shares no code with the
verdicts."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from tests.support.command_line import invoke
from tests.support.features import members_of, needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, exchanges, free_port, provider
from tests.support.metrics_page import Numbers, reaching
from tests.support.prompt_caches import marked_turn

pytestmark = needs_feature("kept_ledger")

MODEL = "claude-sonnet-4-6"
TOKENS, LOST = "trigate_prompt_cache_tokens_total", "trigate_prompt_cache_lost_dollars_total"
RULES = "Answer as an engineer would, in full sentences and with examples. " * 200  # 13,200 bytes, about 3,300 tokens
KEYS = [{"name": name, "key": f"key-of-{name}-0123456789"} for name in ("alice", "nightly")]


@attrs.frozen
class Served:
    """A gateway that keeps a ledger, with its configuration in ``file``."""

    gateway: Gateway
    file: Path

    def report(self, *words: str) -> str:
        done = invoke("cache", "--config", str(self.file), "--since", "1d", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def pair(mock, tmp_path_factory) -> Iterator[Served]:
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    content = config(
        [provider(f"anthropic/{MODEL}", mock.url, ["messages"], name="sonnet")],
        port,
        state_storage={"type": "sqlite", "path": str(folder / "state.sqlite")},
        client_keys=KEYS,
        ui_key="key-of-the-operator-0123456789",
        **members_of("metrics", metrics={"open": True}),
    )
    file = folder / "trigate.yaml"
    file.write_text(yaml.safe_dump(content))
    with gateway_thread(content, port) as gateway:
        yield Served(gateway, file)
        assert "Traceback" not in "\n".join(gateway.log)


def ask(pair: Served, client: str, system: str, turns: int, **more: Any) -> None:
    """Send a turn of a conversation. The next one may follow before the line of this one is written."""
    body = marked_turn(f"{client}'s conversation", system, turns, **more)
    reply = pair.gateway.request("POST", "/v1/messages", body, {"x-api-key": f"key-of-{client}-0123456789"})
    assert reply.status == 200, reply.body


@pytest.fixture(scope="module")
def conversations(pair) -> None:
    """Hold a good conversation, one with a time in its system text, and one after a pause."""
    for turn in (1, 3, 5, 7):
        ask(pair, "alice", RULES, turn, stream=turn == 5)
    for turn in (1, 3, 5):
        ask(pair, "nightly", f"It is {10 + turn}:15:00. {RULES}", turn)
    eventually(lambda: len(exchanges(pair.gateway.log)) == 7)


@pytest.fixture
def lines(pair, conversations) -> list[dict[str, Any]]:
    """Return the log lines of the conversations, and of other tests so far."""
    return exchanges(pair.gateway.log)


def total(lines: list[dict[str, Any]], name: str) -> Any:
    return sum(line.get(name, 0) for line in lines)


def nanos(lines: list[dict[str, Any]]) -> int:
    return sum(round(line.get("prompt_cache_usd", 0) * 10**9) for line in lines)


def of_client(lines: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["client"] == name]


def settled_report(pair: Served, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the report as JSON, once the ledger has every line."""

    def is_complete() -> dict[str, Any] | None:
        found: dict[str, Any] = json.loads(pair.report("--format", "json"))
        return found if found["total"]["could_tokens"] >= total(lines, "prompt_cache_could") else None

    found: dict[str, Any] = eventually(is_complete, what="the lines in the ledger")
    return found


def test_the_log_has_the_cause_of_each_miss_and_none_without_one(lines):
    good, broken = of_client(lines[:7], "alice"), of_client(lines[:7], "nightly")
    assert [line.get("prompt_cache_cause") for line in good] == [None] * 4
    assert [line.get("prompt_cache_cause") for line in broken] == [None, "system", "system"]
    assert all(line["prompt_cache_missed"] > 3000 and line["prompt_cache_usd"] > 0 for line in broken[1:])
    assert "time" in broken[1]["prompt_cache_at"]


def test_the_report_and_the_log_have_the_same_sums(pair, lines):
    found = settled_report(pair, lines)
    for name in ("could", "missed"):
        assert found["total"][f"{name}_tokens"] == total(lines, f"prompt_cache_{name}")
    assert found["total"]["lost_nanos"] == nanos(lines)
    rows = {row["key"]: row for row in found["rows"]}
    assert [one["cause"] for one in rows["nightly"]["causes"]] == ["system"]
    assert rows["nightly"]["lost_nanos"] == nanos(of_client(lines, "nightly"))
    assert rows["alice"]["share"] > 0.99
    assert rows["nightly"]["share"] == 0
    assert found["advice"][0].startswith("nightly: system cost ")


def test_the_table_is_read_at_a_glance(pair, lines):
    settled_report(pair, lines)
    text = pair.report("--by", "key")
    assert text.index("nightly") < text.index("alice"), "the largest loss first"
    assert "  system 0." in text
    done = invoke("costs", "--config", str(pair.file), "--by", "key")
    assert "lost usd" in done.stdout


@needs_feature("metrics")
def test_metrics_have_the_tokens_and_dollars_of_the_log(pair, lines):
    could, missed = total(lines, "prompt_cache_could"), total(lines, "prompt_cache_missed")
    now: Numbers = reaching(pair.gateway, could, TOKENS, kind="could")
    assert now(TOKENS, kind="missed", client="nightly", cause="system", model=MODEL) > 6000
    assert now(TOKENS, kind="missed") == missed
    assert now(LOST) == pytest.approx(nanos(lines) / 1e9)
    assert now(LOST, client="alice") == 0


def test_no_text_of_a_prompt_is_in_a_report(pair, lines):
    marker = f"marker-{uuid.uuid4().hex}"
    for turn in (1, 3):
        ask(pair, "nightly", f"{marker} {turn} {RULES}", turn)
    eventually(lambda: len(exchanges(pair.gateway.log)) >= 9)
    metrics = pair.gateway.request("GET", "/metrics").body.decode()
    ledger = (pair.file.parent / "state.sqlite").read_bytes()
    for text in ("\n".join(pair.gateway.log), metrics, pair.report("--format", "json")):
        assert marker not in text
    assert marker.encode() not in ledger
