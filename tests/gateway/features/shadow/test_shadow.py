"""Shadow traffic between a real gateway and two real providers."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.config_files.loading import ConfigError, from_mapping
from gateway.features.shadow import sending
from gateway.ledger.record import Record
from gateway.request.parse import Incoming
from gateway.seams import observed_texts
from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, exchanges, provider, request
from tests.support.metrics_page import Numbers
from tests.support.upstreams import JSON, Raw, Script, ToolCall, Upstream, fake_upstream
from tests.support.wire_clients import ALL, body_of, path_of, text_of, with_tool

WELL = Script("It rains.")
BUDGETS = ["1 usd/day"]
KEY = "sk-alice-0123456789abcdef"


@contextlib.contextmanager
def mirrored(
    apis: tuple[str, str] = ("chat", "chat"),
    shadow: dict[str, Any] | None = None,
    record: Path | None = None,
    more_entries: Sequence[dict[str, Any]] = (),
    targets: Sequence[str] = ("m0",),
    **more: Any,
) -> Iterator[tuple[Gateway, Upstream, Upstream]]:
    """Serve the name ``m`` of the first provider; the second one gets a sample, in the APIs ``apis``."""
    with fake_upstream() as first, fake_upstream() as second:
        entries = [
            provider(f"vllm/m-{n}", one.url, [api], name=f"m{n}", price={"input": 1000, "output": 1000})
            for n, (one, api) in enumerate(zip((first, second), apis, strict=True))
        ]
        wanted = {"target": "m1", "share": "100%", "budgets": BUDGETS, **(shadow or {})}
        given = config(
            [*entries, *more_entries], model_aliases={"m": {"targets": [*targets], "shadow": wanted}}, **more
        )
        with gateway_thread(given, **({} if record is None else {"record": record})) as served:
            yield served, first, second


def ask(served: Gateway, api: str = "chat", *, stream: bool = False, tool: bool = False, prompt: str = "Hi") -> Any:
    body = body_of(api, "m", prompt, stream=stream)
    return request(served.url, "POST", path_of(api, "m", stream=stream), with_tool(api, body) if tool else body)


def lines_of_samples(served: Gateway, number: int = 1) -> list[dict[str, Any]]:
    """Return the log lines of the second target's exchanges once there are ``number``."""
    return eventually(
        lambda: len(found := [line for line in exchanges(served.log) if "shadow" in line]) >= number and found
    )


def figure(served: Gateway, outcome: str) -> float:
    page = served.request("GET", "/metrics", None, {"x-api-key": KEY}).body.decode()
    return Numbers(page)("trigate_shadow_answers_total", route="m", outcome=outcome)


@pytest.mark.parametrize("stream", [False, True])
@each_row("api", ALL)
def test_a_sample_of_each_api_goes_to_another_target_and_is_compared(api, stream):
    call = Script(calls=(ToolCall("call_1", "get_weather", '{"city": "Oslo"}'),), stop="tool_calls")
    with mirrored(("chat", "messages")) as (served, first, second):
        first.script(WELL)
        second.script(call)
        reply = ask(served, api, stream=stream, tool=True)
        assert reply.status == 200
        assert text_of(api, reply.body, stream=stream) == WELL.text
        (line,) = lines_of_samples(served)
        assert (line["client"], line["model"], line["target"]) == ("shadow of m", "m1", "vllm/m-1")
        assert (line["stream"], line["ended"], line["attempts"]) == (stream, "complete", 1)
        own = next(one for one in exchanges(served.log) if "shadow" not in one)
        assert line["shadow"]["of"] == own["request_id"]
        found = {(one["part"], one["effect"]): (one["old"], one["new"]) for one in line["shadow"]["differences"]}
        assert found["text", "breaks"] == ("present", "absent")
        assert found["tool calls", "differs"] == ("none", "get_weather")
        assert len(second.seen) == 1
        assert second.seen[0].json["messages"][0]["role"] == "user"
        assert second.seen[0].json["tools"][0]["name"] == "get_weather"
        assert bool(second.seen[0].json.get("stream")) == stream


@each_row(
    ("api", "store", "kept"),
    [("chat", True, False), ("chat", None, None), ("responses", True, False), ("responses", None, False)],
)
def test_the_second_provider_is_not_requested_to_store_the_sample(api, store, kept):
    """No client knows the id of that response, so none could delete it."""
    with mirrored((api, api)) as (served, first, second):
        first.script(WELL)
        second.script(WELL)
        body = body_of(api, "m", "Hi", stream=False) | ({} if store is None else {"store": store})
        assert request(served.url, "POST", path_of(api, "m", stream=False), body).status == 200
        (line,) = lines_of_samples(served)
        assert line["ended"] == "complete"
        assert second.seen[0].json.get("store") is kept


@needs_feature("recording")
@pytest.mark.parametrize("stream", [False, True])
def test_records_have_both_answers_and_their_differences(stream, tmp_path):
    with mirrored(("chat", "messages"), record=tmp_path) as (served, first, second):
        first.script(WELL)
        second.script(Script("It snows."))
        assert ask(served, stream=stream).status == 200
        lines_of_samples(served)
    metas = [json.loads(path.read_text()) for path in tmp_path.rglob("*.meta.json")]
    (found,) = (one for one in metas if "shadow" in one["exchange"] and "side:client" in one["features"])
    (own,) = (one for one in metas if "shadow" not in one["exchange"] and "side:client" in one["features"])
    assert found["exchange"]["shadow"]["of"] == own["exchange"]["request_id"]
    assert found["exchange"]["shadow"]["differences"] == []
    bodies = [path.read_bytes() for path in tmp_path.rglob("*.re*.*") if "meta" not in path.name]
    assert len(bodies) == 8
    assert all(bodies), "the requests and responses of both sides, twice"


@needs_feature("metrics")
def test_a_sample_costs_its_own_budget_and_never_its_client():
    clients = [{"name": "alice", "key": KEY, "budgets": ["1000 usd/day"]}]
    with mirrored(shadow={"budgets": ["0.14 usd/day"]}, client_keys=clients) as (served, first, second):
        first.script(*[WELL] * 9)
        second.script(*[WELL] * 9)
        for number in range(9):
            body = body_of("chat", "m", stream=False)
            reply = served.request("POST", "/v1/chat/completions", body, {"x-api-key": KEY})
            assert reply.status == 200
            left = float(reply.headers["x-trigate-budget-left"].removeprefix("usd/day="))
            assert left == pytest.approx(1000 - 0.018 * (number + 1))
            eventually(lambda: figure(served, "alike") + figure(served, "unpaid") == number + 1)  # noqa: B023
        assert figure(served, "unpaid") >= 2
        assert 1 <= figure(served, "alike") == len(second.seen) <= 7
        spent = [line for line in exchanges(served.log) if line["client"] == "shadow of m" and line["status"] == 200]
        assert sum(line["cost_usd"] for line in spent) == pytest.approx(0.018 * len(second.seen))


@each_row(
    "answer",
    [Raw(500, (), (b"{}",)), Raw(200, (("content-type", "application/json"),), (b"{",)), Raw(429, (), (b"{}",))],
)
def test_a_failing_second_target_concerns_nobody(answer):
    with mirrored() as (served, first, second):
        for number in range(3):
            first.script(WELL)
            second.script(answer)
            assert ask(served).status == 200
            lines_of_samples(served, number + 1)
        first.script(WELL)
        second.script(WELL)
        direct = request(served.url, "POST", "/v1/chat/completions", body_of("chat", "m1", stream=False))
        assert direct.status == 200, "its failures are no outage for clients"


@needs_feature("metrics")
def test_a_hanging_second_target_delays_no_client_and_not_the_end(monkeypatch):
    monkeypatch.setattr(sending, "MOST", 2)
    with mirrored() as (served, first, second):
        hanging = Raw(200, (("content-type", "application/json"),), (), "hang")
        first.script(*[WELL] * 12)
        second.script(*[hanging] * 12)
        assert [ask(served).status for _ in range(12)] == [200] * 12
        eventually(lambda: figure(served, "dropped") >= 12 - sending.CONCURRENT - 2)
    cut = [line for line in exchanges(served.log) if "shadow" in line]
    assert [(line["ended"], line["cost_usd"] > 0) for line in cut] == [("shutdown", True)] * sending.CONCURRENT


@needs_feature("metrics")
def test_no_client_takes_the_turns_of_others(monkeypatch):
    """Samples of one client wait for a slow target; another client's is sent next, and is not dropped."""
    monkeypatch.setattr(sending, "MOST", 4)
    monkeypatch.setattr(sending, "CONCURRENT", 1)  # so that they arrive in the order in which they are sent
    clients = [{"name": "mallory", "key": KEY}, {"name": "bob", "key": KEY + "-bob"}]
    slow = [Raw(200, (("content-type", "application/json"),), (), "hang")] * sending.CONCURRENT
    with mirrored(client_keys=clients, timeouts={"first_byte": 3}) as (served, first, second):
        first.script(*[WELL] * 13)
        second.script(*slow, *[WELL] * 9)

        def ask_as(key: str, prompt: str) -> None:
            body = body_of("chat", "m", prompt, stream=False)
            assert served.request("POST", "/v1/chat/completions", body, {"x-api-key": key}).status == 200

        for _ in range(sending.CONCURRENT):
            ask_as(KEY, "slow")
        eventually(lambda: len(second.seen) == sending.CONCURRENT)
        for _ in range(8):
            ask_as(KEY, "many")
        ask_as(KEY + "-bob", "one")
        assert figure(served, "dropped") == 5
        eventually(lambda: figure(served, "alike") == 4)
        prompts = [one.json["messages"][0]["content"] for one in second.seen[sending.CONCURRENT :]]
        assert sorted(prompts) == ["many", "many", "many", "one"]
        assert "one" in prompts[:2]


def test_a_client_that_limits_its_targets_has_no_sample():
    clients = [{"name": "alice", "key": KEY, "only": ["m0"]}, {"name": "bob", "key": KEY + "-bob"}]
    with mirrored(client_keys=clients) as (served, first, second):
        first.script(*[WELL] * 3)
        second.script(*[WELL] * 3)
        body = body_of("chat", "m", stream=False)
        for key, more in ((KEY, {}), (KEY + "-bob", {"x-trigate-fallback": "off"}), (KEY + "-bob", {})):
            assert served.request("POST", "/v1/chat/completions", body, {"x-api-key": key, **more}).status == 200
        lines_of_samples(served)
        assert len(second.seen) == 1


@needs_feature("metrics")
def test_only_a_share_of_requests_without_side_effects_is_sampled():
    with mirrored(shadow={"share": "0%"}) as (served, first, second):
        first.script(*[WELL] * 5)
        assert [ask(served).status for _ in range(5)] == [200] * 5
    assert second.seen == []
    with mirrored(("responses", "responses")) as (served, first, second):
        first.script(WELL)
        body = {**body_of("responses", "m", stream=False), "tools": [{"type": "web_search"}]}
        assert request(served.url, "POST", "/v1/responses", body).status == 200
        eventually(lambda: figure(served, "unrepeatable"))
    assert second.seen == []


@needs_feature("steps")
@pytest.mark.parametrize("stream", [False, True])
def test_the_second_target_gets_the_masked_request(stream):
    steps = [
        {"name": "mask", "use": "regex", "with": {"patterns": {"word": r"falcon-\d+"}}, "action": "mask"},
        {
            "name": "own",
            "use": "regex",
            "with": {"patterns": {"bird": r"osprey-\d+"}},
            "action": "mask",
            "for": {"entries": ["m1"]},
        },
        {
            "name": "never",
            "use": "regex",
            "with": {"patterns": {"x": "kestrel"}},
            "action": "refuse",
            "for": {"entries": ["m1"]},
        },
    ]
    with mirrored(steps=steps) as (served, first, second):
        first.script(WELL)
        second.script(Script("It is falcon-9."))
        assert ask(served, stream=stream, prompt="falcon-12 and osprey-3").status == 200
        lines_of_samples(served)
        sent = [one.seen[0].body.decode() for one in (first, second)]
        assert ["falcon" in text for text in sent] == [False, False]
        assert ["osprey" in text for text in sent] == [True, False]
        eventually(lambda: figure(served, "alike") == 1)
        first.script(WELL)
        assert ask(served, stream=stream, prompt="a kestrel").status == 200
        assert len(second.seen) == 1


@needs_feature("steps")
@each_row("more", [{"action": "mask"}, {"action": "mask", "restore": True}, {"action": "refuse"}])
def test_a_client_does_not_see_the_steps_for_the_second_target(more, monkeypatch):
    """The first target fails after these steps have ended, and another one serves the client."""
    word_steps.seen.clear()
    step = {"use": "tests.support.word_steps:words", "at": ["request"], "for": {"entries": ["m1"]}, **more}
    with fake_upstream(WELL) as third:
        entry = provider("vllm/m-3", third.url, ["chat"], name="m3")
        with mirrored(steps=[step], more_entries=[entry], targets=["m0", "m3"]) as (served, first, _):

            def fail_after_steps(received: Any) -> Raw:
                eventually(lambda: word_steps.seen)
                return Raw(503, JSON, (b"{}",))

            monkeypatch.setattr(first, "answer", fail_after_steps)
            reply = ask(served, prompt="falcon-12")
            assert (reply.status, reply.headers["x-trigate-tried"]) == (200, "m0=overloaded, m3=ok")
            assert reply.headers["x-trigate-lane"] == "byte"
            assert not {"x-trigate-steps", "x-trigate-refused-by"} & set(reply.headers)
            line = next(one for one in eventually(lambda: exchanges(served.log)) if "shadow" not in one)
            assert (line["ended"], line["steps"]) == ("complete", [])


@each_row(
    ("wanted", "found"),
    [
        ({"target": "m1", "budgets": []}, "shadow.budgets: the list is empty"),
        ({"target": "m9", "budgets": BUDGETS}, "shadow.target: no single entry has the model m9"),
        ({"target": "m1"}, "shadow.budgets"),
        ({"target": "m1", "budgets": BUDGETS, "share": "200%"}, "shadow.share"),
        ({"target": "pass", "budgets": BUDGETS}, "shadow.target: its entry uses the clients' keys"),
    ],
)
def test_a_shadow_that_cannot_work_is_a_mistake(wanted, found):
    entries = [provider("openai/m1", "https://a.example/v1", name="m1")]
    entries.append({"model": "openai/m2", "name": "pass", "passthrough_auth": True})
    with pytest.raises(ConfigError) as caught:
        from_mapping(config(entries, 12000, model_aliases={"m": {"target": "m1", "shadow": wanted}}))
    (mistake,) = caught.value.mistakes
    assert found in str(mistake)


def test_a_client_with_long_texts_takes_no_room_of_others(monkeypatch):
    monkeypatch.setattr(observed_texts, "HELD", 100)
    room = observed_texts.TextRoom()

    def begin(client: str, size: int) -> observed_texts.ObservedTexts:
        record = Record("call", "chat")
        record.client = client
        texts = observed_texts.ObservedTexts(record, room, lambda client: True)
        texts.note_resolved(Incoming("chat", b"x" * size, {}, None, False))
        return texts

    running = [begin(*one) for one in (("bob", 20), ("ann", 30), ("ann", 30), ("ann", 30), ("bob", 20))]
    assert [one.is_lost for one in running] == [False, True, False, False, False]
    for one in running:
        one.settle()
    assert not room
