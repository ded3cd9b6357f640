"""Tests with a real Prometheus and two workers: every query of the dashboard has data, and every alert rule works."""

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
import yaml

from streams.events import STATUS
from tests.support.features import needs_feature
from tests.support.harness import (
    ROOT,
    Gateway,
    Listening,
    Wire,
    config,
    eventually,
    free_port,
    post,
    provider,
    refusing_port,
    request,
    running,
)
from tests.support.oidc import open_provider
from tests.support.processes import workers
from tests.support.upstreams import JSON, PATHS, Raw, Script, Tokens, ToolCall, Upstream, data

pytestmark = [pytest.mark.process, needs_feature("metrics")]

BOARD = ROOT / "deploy/grafana/trigate.json"
RULES = ROOT / "deploy/prometheus/alerts.yaml"
SCRAPE = ROOT / "deploy/prometheus/prometheus.yaml"
MISSING = "{} is not installed here (Debian's and Ubuntu's package prometheus has it)"
CALL = Script(calls=(ToolCall("call_1", "get_weather", '{"city": "Oslo"}'),), stop="tool_calls")
ANSWER = Script(text="one two three", tokens=Tokens(prompt=20, cache_read=5, output=9, reasoning=4))
BUSY = Raw(429, JSON, (b'{"error": {"message": "slow down"}}',))
AWAY = Raw(503, JSON, (b'{"error": {"message": "overloaded"}}',))
CHOICE = {"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": None}
WORD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [CHOICE]}
LIMITED_ENTRY = {"price": {"input": 1, "output": 2}, "budgets": ["5000 usd/day"], "ratelimits": {"concurrent": 100},
                 "queue": {"size": 9, "wait": "1s"}}  # fmt: skip
SOUND = Raw(200, (("content-type", "audio/mpeg"),), (b"sound",))
KEY = "key-of-ann-0123456789"
WITH_KEY = {"authorization": f"Bearer {KEY}"}
STREAMING = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(MISSING.format(name))
    return found


@attrs.frozen
class Prometheus:
    port: int
    gateway_port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **query: str) -> Any:
        reply = request(self.url, "GET", f"{path}?{urlencode(query)}")
        assert reply.status == 200, reply.body[:500]
        return reply.json["data"]

    def ask(self, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=query)["result"]
        return found

    def is_ready(self) -> bool:
        """Return whether Prometheus has read the metrics of both workers."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        with contextlib.suppress(OSError):
            ready = request(self.url, "GET", "/-/ready").status == 200
            return ready and bool(self.ask("trigate_workers == 2"))
        return False


@pytest.fixture(scope="module")
def prometheus_process(tmp_path_factory) -> Iterator[Prometheus]:
    """Start Prometheus with the shipped configuration, but another address and shorter intervals.

    Prometheus reads its first target 5 s after its start, so it starts before the gateway."""
    folder, port, gateway_port = tmp_path_factory.mktemp("prometheus"), free_port(), free_port()
    settings = yaml.safe_load(SCRAPE.read_text())
    settings["scrape_configs"][0].update(
        scrape_interval="250ms", scrape_timeout="250ms", static_configs=[{"targets": [f"127.0.0.1:{gateway_port}"]}]
    )
    settings["global"] = {"evaluation_interval": "1s"}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(RULES, folder)
    places = {"config.file": folder / "prometheus.yaml", "storage.tsdb.path": folder / "data"}
    options = {**places, "web.listen-address": f"127.0.0.1:{port}", "scrape.discovery-reload-interval": "100ms"}
    command = [tool("prometheus"), *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield Prometheus(port, gateway_port, process, folder / "log")
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def prometheus(gateway, prometheus_process) -> Prometheus:
    eventually(prometheus_process.is_ready, 60, "Prometheus")
    return prometheus_process


# The shipped files in promtool

# The number of workers of each instance, and 1 if it responds, every 15 s.
REPLACED = {"a": ("2x20 stale", "1x20 stale"), "b": ("2x60", "1x60"), "c": ("_x10 2x50", "_x10 1x50")}
ONE_WORKER_LESS = {"a": ("4x20 3x40", "1x60"), "b": ("2x60", "1x60")}
ONE_AWAY = {"a": ("2x20 stale", "1x20 0x40"), "b": ("2x60", "1x60")}
ALL_AWAY = {"": ("_x60", "_x60")}


@attrs.frozen
class Judged:
    """The expected alerts of the shipped rules whose names match ``rule``, for ``series`` with a value every 15 s.

    ``found`` has the labels of the alerts that fire at each time, counted ``by`` labels."""

    name: str
    series: Mapping[str, str]
    rule: str
    by: str
    found: Mapping[str, Sequence[str]]

    def group(self) -> dict[str, Any]:
        """Return the group of tests for promtool."""
        expression = f'count {self.by} (ALERTS{{alertname=~"{self.rule}",alertstate="firing"}})'
        return {
            "name": self.name, "interval": "15s",
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "promql_expr_test": [
                {"expr": expression, "eval_time": when,
                 "exp_samples": [{"labels": f"{{{label}}}", "value": 1} for label in labels]}
                for when, labels in self.found.items()
            ],
        }  # fmt: skip


def deaths() -> Iterator[Judged]:
    """Yield cases in which dead instances and workers cause an alert, and a deployment causes none."""
    for name, instances, dead in (
        ("replaced", REPLACED, {}),
        ("one worker less", ONE_WORKER_LESS, {"TrigateWorkersDie": 'instance="a"'}),
        ("one away", ONE_AWAY, {"TrigateGone": 'instance="a"'}),
        ("all away", ALL_AWAY, {"TrigateGone": ""}),
    ):
        series = {
            f'{metric}{{job="trigate",instance="{instance}"}}': values
            for instance, both in instances.items()
            for metric, values in zip(("trigate_workers", "up"), both, strict=True)
        }
        for rule in ("TrigateGone", "TrigateWorkersDie"):
            labels = [dead[rule]] if rule in dead else []
            yield Judged(f"{name}: {rule}", series, rule, "by (instance)", {"10m": labels})


def failures_of_providers() -> Iterator[Judged]:
    """Yield a case with a provider for each kind of error, which returns it for every request. Errors of the request
    cause no alert."""
    series = {
        f'trigate_upstream_{name}{{provider="{kind}"{label}}}': "0+10x60"
        for kind in STATUS
        for name, label in (("errors_total", f',error="{kind}"'), ("attempts_total", ""))
    }
    # The operator must handle rate limits and accounts without money; other 4xx are errors of the request.
    failing = [kind for kind, status in STATUS.items() if status >= 500 or kind in ("rate_limited", "billing")]
    labels = [f'provider="{kind}"' for kind in failing]
    yield Judged("failing providers", series, "TrigateProviderFails", "by (provider)", {"14m": labels})


REFUSED_FOR_MONEY = 'trigate_limit_refusals_total{holder_kind="client_keys",holder="ben",limit="budgets"}'


def budgets() -> Iterator[Judged]:
    """Yield cases of alerts for budgets that are nearly spent or refuse requests. A budget refuses a request before its
    last cent is spent, if the request's expected cost exceeds the rest."""
    spent = {"alice": "0.5x60", "ben": "0.97x60", "cleo": "1.01x60"}
    used = 'trigate_budget_used_ratio{holder_kind="client_keys",holder="%s",budget="20 usd/day"}'
    series = {**{used % name: values for name, values in spent.items()}, REFUSED_FOR_MONEY: "_x20 1x60"}
    for alert, names in (("TrigateBudgetNearlySpent", ["ben"]), ("TrigateBudgetSpent", ["ben", "cleo"])):
        labels = [f'holder="{name}"' for name in names]
        yield Judged(alert, series, alert, "by (holder)", {"10m": labels})


def spent_budgets() -> Iterator[Judged]:
    """Yield cases in which a spent budget pages the operator only if it affects all clients."""
    wakes = {"client_keys": "ticket", "client_groups": "ticket", "model_providers": "page", "everybody": "page"}
    for series in (
        'trigate_budget_used_ratio{%s,budget="20 usd/day"}',
        'trigate_limit_refusals_total{%s,limit="budgets"}',
    ):
        for kind, severity in wakes.items():
            name = series % f'holder_kind="{kind}",holder="a"'
            found = {"10m": [f'severity="{severity}"']}
            yield Judged(name, {name: "_x20 1x60"}, "Trigate.*BudgetSpent", "by (severity)", found)


MISTAKE = 'trigate_exchanges_total{ended="internal_error",status="5xx"}'
REFUSED = {
    'trigate_exchanges_total{ended="upstream_error",status="4xx"}': "0+10x60",
    'trigate_upstream_errors_total{provider="p",error="invalid_request"}': "0+10x60",
    'trigate_upstream_attempts_total{provider="p"}': "0+10x60",
}
LIMITED = {name.replace("invalid_request", "rate_limited"): values for name, values in REFUSED.items()}


def at_target(reason: str) -> dict[str, str]:
    attempts = "trigate_target_attempts_total"
    return {f'{attempts}{{target="a",reason="{reason}"}}': "0+10x90", f'{attempts}{{target="a",reason="ok"}}': "0+5x90"}


CREDENTIAL = 'trigate_target_attempts_total{target="a",reason="credential"}'
UNANSWERED = {'trigate_fallbacks_total{route="r",answered="no"}': "0+9x60"}
SAVED = {**UNANSWERED, 'trigate_fallbacks_total{route="r",answered="yes"}': "0+10x60"}


def lost_dollars(cause: str, first: str) -> dict[str, str]:
    """Return the series of dollars lost to ``cause`` by one client."""
    return {f'trigate_prompt_cache_lost_dollars_total{{client="nightly",model="m",cause="{cause}"}}': first}


def missed_tokens(cause: str, requests: str) -> dict[str, str]:
    """Return the series of a client without prices that misses two thirds of its tokens, with its ``requests``."""
    tokens = 'trigate_prompt_cache_tokens_total{client="nightly",model="m",kind="%s",cause="%s"}'
    done = 'trigate_exchanges_total{client="nightly",model="m",ended="complete"}'
    return {tokens % ("could", "none"): "0+300x90", tokens % ("missed", cause): "0+200x90", done: requests}


BROKEN = "TrigatePromptCacheBroken"
RULES_IN_TIME: Mapping[str, tuple[Mapping[str, str], str, Mapping[str, bool]]] = {
    "the first mistake of all": ({MISTAKE: "_x20 1x20"}, "TrigateMistakes", {"4m": False, "6m": True}),
    "it is over after a while": ({MISTAKE: "_x20 1x90"}, "TrigateMistakes", {"19m": True, "25m": False}),
    "a further mistake": ({MISTAKE: "0x20 1x20"}, "TrigateMistakes", {"6m": True}),
    "mistakes of long ago": ({MISTAKE: "3x120"}, "TrigateMistakes", {"20m": False}),
    "bad requests": (REFUSED, "TrigateExchangesFail", {"14m": False}),
    "rate limits": (LIMITED, "TrigateExchangesFail", {"14m": True}),
    "mistakes only": ({MISTAKE: "0+10x60"}, "TrigateExchangesFail", {"14m": True}),
    "bad requests for long": (
        dict.fromkeys(REFUSED, "0+10x120"), "TrigateProviderRefuses", {"14m": False, "25m": True}
    ),
    "rate limits for long": (dict.fromkeys(LIMITED, "0+10x120"), "TrigateProviderRefuses", {"25m": False}),
    "a target fails": (at_target("overloaded"), "TrigateTargetFails", {"9m": False, "14m": True}),
    "requests that a target finds wrong": (at_target("invalid"), "TrigateTargetFails", {"14m": False}),
    "a refused credential": ({CREDENTIAL: "_x20 1x20"}, "TrigateTargetRefused", {"4m": False, "6m": True}),
    "a wrong name at a target that answers": (
        {CREDENTIAL.replace("credential", "gone"): "_x20 1x60", CREDENTIAL.replace("credential", "ok"): "0+1x90"},
        "TrigateTargetRefused", {"6m": False, "14m": False},
    ),
    "a credential that is refused after others were accepted": (
        {CREDENTIAL: "_x20 1x60", CREDENTIAL.replace("credential", "ok"): "0+1x19 20x60"},
        "TrigateTargetRefused", {"6m": False, "19m": False, "20m": True},
    ),
    "shared counters away": ({"trigate_counters_away": "0x8 2x60"}, "TrigateCountersAway", {"3m": False, "5m": True}),
    "fallbacks without an answer": (UNANSWERED, "TrigateFallbacksFail", {"4m": False, "9m": True}),
    "fallbacks that answer": (SAVED, "TrigateFallbacksFail", {"9m": False}),
    "dollars lost at once": (lost_dollars("system", "_x20 3.1x90"), BROKEN, {"4m": False, "6m": True}),
    "dollars lost slowly": (lost_dollars("tools", "0+0.01x240"), BROKEN, {"58m": False}),
    "dollars lost steadily": (lost_dollars("tools", "0+0.02x240"), BROKEN, {"30m": False, "50m": True}),
    "dollars lost to time": (lost_dollars("expired", "0+1x90"), BROKEN, {"20m": False}),
    "half missed": (missed_tokens("system", "0+1x90"), BROKEN, {"10m": True}),
    "half missed in few requests": (missed_tokens("system", "0 1x90"), BROKEN, {"16m": False}),
    "half missed after compaction": (missed_tokens("compacted", "0+1x90"), BROKEN, {"10m": False}),
}  # fmt: skip


def rules_in_time() -> Iterator[Judged]:
    """Yield a case for each rule: it fires at the expected time, and not earlier."""
    for name, (series, rule, times) in RULES_IN_TIME.items():
        yield Judged(name, series, rule, "", {when: [""] if fires else [] for when, fires in times.items()})


@pytest.mark.soak
def test_the_shipped_rules_fire_when_they_should(tmp_path):
    """promtool prints the expression and the time of each difference. Each case only evaluates its own rules, because
    evaluating all of them would take twenty times as long."""
    cases = (*deaths(), *failures_of_providers(), *budgets(), *spent_budgets(), *rules_in_time())
    shipped = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    files = []
    for number, rule in enumerate(sorted({case.rule for case in cases})):
        rules = [one for one in shipped if re.fullmatch(rule, one["alert"])]
        groups = [case.group() for case in cases if case.rule == rule]
        own, file = tmp_path / f"rules-{number}.yaml", tmp_path / f"tests-{number}.yaml"
        own.write_text(yaml.safe_dump({"groups": [{"name": "trigate", "rules": rules}]}))
        file.write_text(yaml.safe_dump({"rule_files": [str(own)], "evaluation_interval": "15s", "tests": groups}))
        files.append(str(file))
    done = subprocess.run([tool("promtool"), "test", "rules", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("what", "file"), [("rules", RULES), ("config", SCRAPE)])
def test_promtool_finds_nothing_wrong(what, file):
    done = subprocess.run([tool("promtool"), "check", what, str(file)], cwd=file.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# The gateway in Prometheus


@pytest.fixture(scope="module")
def gateway(upstream, by_hand, prometheus_process) -> Iterator[Gateway]:
    with refusing_port() as refused, open_provider() as identity:
        entries = [
            provider("openai/on-chat", upstream.url, ["chat"]) | LIMITED_ENTRY,
            provider("openai/tiny", upstream.url, ["chat"]) | {"ratelimits": {"requests": "1/d"}},
            provider("anthropic/m", upstream.url, ["messages"]),
            provider("openai/again", upstream.url, ["chat"]),  # the limits of the other entry do not affect it
            provider("openai/plan", upstream.url, ["chat"]) | {"price": "subscription"},
            provider("anthropic/claude-sonnet-4-6", upstream.url, ["messages"], name="cached-prompts"),
            provider("openai/slow", by_hand.url, ["chat"]),
            provider("openai/beside", upstream.url, ["chat"], price={"input": 1, "output": 1}),
            provider("groq/gone", f"http://127.0.0.1:{refused}/v1") | {"circuit": {"failures": 1, "cooldown": "500ms"}},
        ]
        aliases = {
            "routed": {"targets": ["groq/gone", "openai/again"], "hedge": {"after": "60s"}},
            "shared": {"targets": [["openai/on-chat", "anthropic/m"]]},
            "patient": {"target": "openai/again", "retries": {"attempts": 2}},
            "cached": {"target": "openai/on-chat", "cache": {"ttl": "1h"}},
            "compared": {
                "target": "openai/again",
                "shadow": {"target": "openai/beside", "share": "100%", "budgets": ["1 usd/day"]},
            },
        }
        port = prometheus_process.gateway_port
        away = {"url": f"http://127.0.0.1:{refused}"}
        steps = [
            {"use": "regex", "action": "report", "with": {"patterns": {"greeting": "Hi"}}},
            {"use": "http", "unchecked": "pass", "for": {"models": ["patient"]}, "with": away},
            {"use": "json:dumps", "name": "failing", "at": ["finished"]},  # fails, because it cannot write records
        ]
        settings = config(
            entries,
            port,
            model_aliases=aliases,
            steps=steps,
            client_keys=[{"name": "ann", "key": KEY}],
            issuers=[{"name": "okta", "issuer": identity.issuer, "audience": ["trigate"], "admit": [{"when": {}}]}],
            metrics={"open": True},
        )
        with running(settings, port, "--workers", "2") as process:
            eventually(lambda: len(workers(process.pid)) == 2)
            yield process


def ask(gateway: Gateway, model: str, **more: Any) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}
    gateway.request("POST", PATHS["chat"], body, WITH_KEY)


def traffic(gateway: Gateway, upstream: Upstream, by_hand: Listening) -> None:
    """Cause traffic of every kind that the dashboard shows."""
    upstream.script(AWAY, ANSWER)
    ask(gateway, "patient")
    upstream.script(ANSWER)
    ask(gateway, "routed")
    upstream.script(ANSWER)
    ask(gateway, "plan")
    upstream.script(ANSWER)
    ask(gateway, "tiny")
    ask(gateway, "tiny")
    upstream.script(ANSWER, ANSWER, BUSY)
    for model, more in (("on-chat", {"stream": True}), ("m", {"seed": 1, "stream": True}), ("on-chat", {})):
        ask(gateway, model, **more)
    break_prompt_cache(gateway, upstream)
    upstream.script(ANSWER, CALL)
    ask(gateway, "compared")
    eventually(lambda: len(upstream.seen) == 2)  # the shadow gets the second answer
    upstream.script(SOUND)
    gateway.request("POST", "/v1/audio/speech", {"model": "on-chat", "input": "Hello", "voice": "alloy"}, WITH_KEY)
    upstream.script(ANSWER)
    for _ in range(4):  # each of the two workers has its own cache
        ask(gateway, "cached", seed=7)
    with Wire.connect(gateway.port) as client:
        body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        client.send(post(PATHS["chat"], body, WITH_KEY))
        with by_hand.accept() as provider:
            provider.read_request()
            provider.send(STREAMING + data(WORD))
            client.read_until(b"Hello")
            provider.send(data(WORD))  # some time after the gateway's first write
            client.read_until(b"Hello")
            client.reset()


def break_prompt_cache(gateway: Gateway, upstream: Upstream) -> None:
    """Send two turns of a conversation whose system text changes between them."""
    messages = [{"role": "user", "content": "A question that is long enough to be recognized."}]
    for number in range(2):
        system = [{"type": "text", "text": f"{number} " + "Be brief. " * 4000, "cache_control": {"type": "ephemeral"}}]
        body = {"model": "cached-prompts", "max_tokens": 9, "system": system, "messages": messages}
        upstream.script(Script(text="Yes.", tokens=Tokens(prompt=10_010 + number, cache_write=10_000, output=2)))
        gateway.request("POST", PATHS["messages"], body, WITH_KEY)
        messages = [*messages, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Why is that so?"}]


def queries() -> list[str]:
    live_view = json.loads(BOARD.read_text())
    return [target["expr"] for panel in live_view["panels"] for target in panel.get("targets", [])]


@pytest.mark.soak
def test_every_query_of_the_dashboard_has_data(gateway, upstream, by_hand, prometheus):
    asked = [
        re.sub(r"\$(provider|model|group|client)\b", ".*", query).replace("$__rate_interval", "1m")
        for query in queries()
    ]
    assert len(asked) > 30
    assert not [query for query in asked if "$" in query]

    unanswered = asked

    def all_answered() -> bool:
        nonlocal unanswered
        traffic(gateway, upstream, by_hand)
        unanswered = [query for query in unanswered if value(prometheus, query) is None]
        return not unanswered

    with contextlib.suppress(AssertionError):
        eventually(all_answered, 90)
    assert unanswered == []


def value(prometheus: Prometheus, query: str) -> float | None:
    """Return the first number of the query's result, or ``None`` if it is NaN, such as a quantile without data."""
    numbers = [float(one["value"][1]) for one in prometheus.ask(query)]
    return next((number for number in numbers if number == number), None)


@pytest.mark.soak
def test_prometheus_sees_the_sum_of_both_workers(gateway, upstream, by_hand, prometheus):
    def total() -> float:
        return value(prometheus, 'sum(trigate_exchanges_total{ended="complete"})') or 0

    before = total()
    for _ in range(3):
        traffic(gateway, upstream, by_hand)
    eventually(lambda: total() >= before + 20, 30)
    assert len(prometheus.ask("trigate_workers")) == 1


@pytest.mark.soak
def test_the_alert_rules_are_evaluated(prometheus):
    def evaluated_rules() -> list[dict[str, Any]]:
        groups = prometheus.get("/api/v1/rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else []

    rules = eventually(evaluated_rules, 30)
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    assert len(rules) == len(yaml.safe_load(RULES.read_text())["groups"][0]["rules"])
