"""Notices about budgets, between real gateways and a real receiver.

An answer of these providers has 11 tokens of input and 7 of output."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from gateway.allowances.allowance import Holder
from gateway.allowances.budgets import budget_allowances
from gateway.config.amounts import read_budget
from gateway.config_files.loading import ConfigError, from_mapping
from gateway.features.notices import opening
from providers.catalog.prices import NANOS
from tests.support.asgi_app import eventually as eventually_async
from tests.support.each_row import each_row
from tests.support.features import members_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, free_port, provider, refusing_port, running
from tests.support.http_servers import QuietHandler, http_server
from tests.support.in_process import gateway, providers
from tests.support.upstreams import Script, Upstream, fake_upstream

SECRET = "a-secret-of-the-operator-0123456789"
KEY = "sk-alice-0123456789abcdef-0123456789"
BEARER = {"authorization": f"Bearer {KEY}"}


@attrs.define
class Received:
    """The notices that a receiver accepted, after it returned ``faults`` times 500."""

    host: str
    faults: int = 0
    attempts: int = 0
    bodies: list[dict[str, Any]] = attrs.field(factory=list)
    heads: list[dict[str, str]] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}/hidden-path-T0123"

    @property
    def steps(self) -> list[tuple[str, str, int]]:
        return sorted((one["holder"], one["budget"], one["step"]) for one in self.bodies)


@contextlib.contextmanager
def receiver(faults: int = 0) -> Iterator[Received]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.read_body()
            received.attempts += 1
            if received.attempts <= received.faults:
                return self.respond(500)
            received.bodies.append(json.loads(body))
            received.heads.append({name.lower(): value for name, value in self.headers.items()} | {"": body.decode()})
            return self.respond(204)

    with http_server(Handler) as host:
        received = Received(host, faults)
        yield received


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(opening, "INTERVAL", 0.02)
    monkeypatch.setattr(opening, "PAUSES", (0.02,) * 4)


def settings(place: Any, *receivers: dict[str, Any], **more: Any) -> dict[str, Any]:
    entry = provider("vllm/a", f"{place.url}/v1", ["chat"], price={"input": 1000, "output": 1000}, name="a")
    off = members_of("metrics", metrics=False)
    return config([entry | more.pop("entry", {})], 12000, **off, notify=list(receivers), **more)


ALICE = {"name": "alice", "key": KEY, "group": "team", "budgets": ["200 tokens/day"]}
TEAM = {"name": "team", "budgets": ["0.25 usd/30d"]}


async def test_each_step_of_each_budget_is_one_signed_notice(quick):
    with receiver() as own, receiver() as slack:
        async with providers(1) as [place]:
            receivers = {"url": own.url, "secret": SECRET}, {"url": slack.url, "form": "slack", "at": ["50%"]}
            of_all = {"client_keys": [ALICE], "client_groups": [TEAM], "budgets": ["60 tokens/hour", "1 usd/run"]}
            given = settings(place, *receivers, **of_all, entry={"budgets": ["0.2 usd/month"]})
            async with gateway(given) as running:

                async def ask_until_rejected() -> None:
                    while (await running.ask("a", headers=[*BEARER.items()])).status_code != 402:
                        pass

                await ask_until_rejected()
                await eventually_async(lambda: len(own.bodies) == 3)
                given["budgets"] = ["600 tokens/hour"]
                running.reload(given)
                await ask_until_rejected()
                await eventually_async(lambda: len(own.bodies) >= 9)
                await eventually_async(lambda: len(slack.bodies) == 4)
    assert own.steps == [
        ("client_groups.team", "0.25 usd/30d", 50),
        *[("client_keys.alice", "200 tokens/day", step) for step in (50, 80, 100)],
        *[("everybody", "60 tokens/hour", step) for step in (50, 80, 100)],
        *[("model_providers.a", "0.2 usd/month", step) for step in (50, 80)],
    ]
    spent = next(one for one in own.bodies if one["holder"] == "client_keys.alice" and one["step"] == 100)
    assert (spent["amount"], spent["unit"], spent["rejects"]) == (200, "tokens", True)
    assert 160 < spent["used"] < 200
    percent = spent["used"] // 2
    assert spent["text"] == (
        f"{percent:g}% of 200 tokens/day is used by client key alice: {spent['used']:g} tokens. "
        "A request did not fit into the rest."
    )
    group = next(one for one in own.bodies if one["holder"] == "client_groups.team")
    assert (group["used"] >= 0.126, group["amount"], group["unit"]) == (True, 0.25, "usd")
    assert all(list(one) == ["text"] for one in slack.bodies)
    for head in own.heads:
        signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.{head['']}".encode()
        digest = base64.b64encode(hmac.digest(SECRET.encode(), signed, hashlib.sha256)).decode()
        assert head["webhook-signature"] == f"v1,{digest}"
    assert len({head["webhook-id"] for head in own.heads}) == 9
    assert not any("webhook-signature" in head for head in slack.heads)


async def test_a_failing_receiver_gets_the_same_notice_again_and_delays_no_response(quick, caplog):
    with receiver(faults=2) as own, refusing_port() as port:
        async with providers(1) as [place]:
            dead = {"url": f"http://127.0.0.1:{port}/hidden-path-T0123"}
            given = settings(place, {"url": own.url, "at": ["50%"]}, dead, budgets=["30 tokens/day"])
            async with gateway(given) as running:
                assert (await running.ask("a")).status_code == 200
                await eventually_async(lambda: len(own.bodies) == 1)
                await eventually_async(lambda: "a notice for 127.0.0.1 is given up" in caplog.text)
                assert (await running.ask("a")).status_code == 402
    assert own.attempts == 3
    assert "returned status 500" in caplog.text
    assert "hidden-path" not in caplog.text


@pytest.mark.process
async def test_a_notice_of_a_gateway_that_ends_is_sent_by_another_one(quick, monkeypatch, redis_server):
    monkeypatch.setattr(opening, "PAUSES", (60.0,))
    counters = {"type": "redis", "url": redis_server.new_database()}
    with receiver(faults=1) as own:
        async with providers(1) as [place]:
            to = {"url": own.url, "at": ["50%", "80%"]}
            given = settings(place, to, budgets=["90 tokens/day"], counters=counters)
            async with gateway(given) as other:
                async with gateway(given, drains=True) as one:
                    for _ in range(3):
                        assert (await one.ask("a")).status_code == 200
                    await eventually_async(lambda: own.attempts == 1)
                    assert (await other.ask("a")).status_code == 200
                    await eventually_async(lambda: own.attempts == 2)  # and the first step belonged to ``one``
                await eventually_async(lambda: len(own.bodies) == 2)
    assert [one["step"] for one in own.bodies] == [80, 50]


async def test_a_receiver_that_hangs_delays_no_other_one(quick, monkeypatch):
    monkeypatch.setattr(opening, "ATTEMPT", 60.0)
    names = [f"k{number}" for number in range(2 * opening.PLACES)]
    keys = [{"name": one, "key": f"{KEY}-{one}", "budgets": ["30 tokens/day"]} for one in names]
    over = threading.Event()

    class Hanging(QuietHandler):
        def do_POST(self) -> None:
            over.wait()

    with http_server(Hanging) as hanging, receiver() as own:
        try:
            async with providers(1) as [place]:
                receivers = [{"url": f"http://{one}/", "at": ["50%"]} for one in (hanging, own.host)]
                async with gateway(settings(place, *receivers, client_keys=keys)) as running:
                    for one in names:
                        answer = await running.ask("a", headers=[("authorization", f"Bearer {KEY}-{one}")])
                        assert answer.status_code == 200
                    await eventually_async(lambda: len(own.bodies) == len(names))
        finally:
            over.set()


async def test_a_restart_with_a_kept_ledger_repeats_no_notice(quick, tmp_path):
    storage = {"state_storage": {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}}
    with receiver() as own, fake_upstream(Script("Hello")) as upstream:
        for step in (15, 30):
            port = free_port()
            with gateway_thread(_file(tmp_path, _process_settings(upstream, port, own, **storage)), port) as one:
                assert _ask(one, 3) == [200] * 3
                eventually(lambda: any(notice["step"] == step for notice in own.bodies))  # noqa: B023 -- called here
    assert own.steps == [("everybody", "360 tokens/day", step) for step in (15, 30)]


@each_row(
    ("member", "value", "found"),
    [
        ("url", "ftp://host/secret-path", "notify[0].url: no URL for notices"),
        ("url", "https://user:word@host/", "notify[0].url: no URL for notices"),
        ("at", [], "notify[0].at: no step, or one of 0%"),
        ("at", ["0%"], "notify[0].at: no step, or one of 0%"),
        ("at", [50], "notify[0].at[0]: 50; expected a share such as 20%"),
        ("secret", "short", "notify[0].secret: it has fewer than 16 characters"),
        ("form", "xml", "notify[0].form: 'xml'"),
    ],
)
def test_a_receiver_that_cannot_work_is_a_mistake(member, value, found):
    one = {"url": "https://host/path", member: value}
    with pytest.raises(ConfigError) as caught:
        from_mapping(config([provider("openai/m", "https://api.example/v1")], 12000, notify=[one]))
    (mistake,) = caught.value.mistakes
    assert found in str(mistake)
    assert "secret-path" not in str(mistake)


def _process_settings(upstream: Upstream, port: int, own: Received, **more: Any) -> dict[str, Any]:
    """Return settings with a budget. An answer uses 5 % of it."""
    to = {"url": own.url, "at": ["15%", "30%", "60%", "90%"]}
    return config([provider("vllm/a", upstream.url, ["chat"])], port, budgets=["360 tokens/day"], notify=[to], **more)


def _ask(gateway: Gateway, number: int) -> list[int]:
    body = {"model": "a", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}
    with ThreadPoolExecutor(4) as pool:
        replies = pool.map(lambda _: gateway.request("POST", "/v1/chat/completions", body), range(number))
        return [one.status for one in replies]


def _file(folder: Path, content: dict[str, Any]) -> Path:
    file = folder / "trigate.yaml"
    file.write_text(yaml.dump(content))
    return file


@pytest.mark.process
@pytest.mark.parametrize("store", ["redis", "postgres"])
def test_workers_and_gateways_send_each_notice_once(store, request, tmp_path):
    url = request.getfixturevalue("redis_server" if store == "redis" else "server").new_database()
    more = {"counters": {"type": store, "url": url}}
    with receiver(faults=2) as own, fake_upstream(Script("Hello")) as upstream:
        ports = free_port(), free_port()
        files = [tmp_path / f"{port}.yaml" for port in ports]
        for file, port in zip(files, ports, strict=True):
            file.write_text(yaml.dump(_process_settings(upstream, port, own, **more)))
        options = "--workers", "2"
        with running(files[0], ports[0], *options) as one, running(files[1], ports[1], *options) as other:
            assert _ask(one, 3) + _ask(other, 3) == [200] * 6
            eventually(lambda: len(own.bodies) == 2, 20)
            os.kill(one.pid, signal.SIGHUP)
            eventually(lambda: "the configuration was reloaded" in "".join(one.log), 20)
            assert _ask(one, 3) + _ask(other, 3) == [200] * 6
            eventually(lambda: len(own.bodies) == 3, 20)
        with running(files[0], ports[0], *options) as one:
            assert _ask(one, 6) == [200] * 6
            eventually(lambda: len(own.bodies) == 4, 20)
            assert _ask(one, 1) == [200]
    assert Counter(one["step"] for one in own.bodies) == {15: 1, 30: 1, 60: 1, 90: 1}


def test_the_notice_of_a_raised_budget_has_both_amounts():
    (one,) = budget_allowances(Holder("client_keys", "alice"), [read_budget("20 usd/day")], "UTC")
    raised = attrs.evolve(one, present_amount=lambda: 40 * NANOS)
    found = opening.notice_figures((raised, raised.counter(0.0, None), False), 1.0, 40 * NANOS)
    assert found["text"] == "100% of 20 usd/day (raised to 40 usd) is used by client key alice: 40 usd."
