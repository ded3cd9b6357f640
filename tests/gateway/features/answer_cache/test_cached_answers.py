"""Answers from the cache, over real sockets: which clients get them, in which form, and their cost."""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gateway.stores.memory import MemoryStore
from tests.support.features import has_feature, needs_feature
from tests.support.in_process import CountingProvider, InProcess, gateway, providers
from tests.support.levels import limit_level
from tests.support.metrics_page import Numbers
from tests.support.settled_lines import SettledLines
from tests.support.upstreams import Script, fake_upstream, render
from trigate.steps import Check, Finding

ALICE, BEN, CARL = (f"tg-{name}-a-key-of-more-than-enough-characters" for name in ("alice", "ben", "carl"))
APIS = ("chat", "messages", "responses")
KINDS = {"chat": "openai", "messages": "anthropic", "responses": "openai"}


def entry(provider: CountingProvider, name: str = "m", api: str = "chat", **more: Any) -> dict[str, Any]:
    made = {"model": f"{KINDS[api]}/{name}", "name": name, "access_key": "k", "base_url": f"{provider.url}/v1"}
    return {**made, "speaks": [api], **more}


def settings(*entries: dict[str, Any], use: Any = None, **more: Any) -> dict[str, Any]:
    """Return a configuration with an alias ``cached-NAME``, which uses the cache, for each model NAME."""
    use = use or {"ttl": "1h"}
    aliases = {f"cached-{one['name']}": {"target": one["name"], "cache": use} for one in entries}
    return {"version": "v0.4.0", "model_providers": list(entries), "model_aliases": aliases, **more}


@attrs.frozen
class Stage:
    provider: CountingProvider
    gate: InProcess
    lines: SettledLines

    async def ask(self, model: str = "cached-m", api: str = "chat", **members: Any) -> Any:
        """Send a request and return the response."""
        return await self.gate.ask(model, api, **members)


@contextlib.asynccontextmanager
async def open_stage(*, use=None, entries: tuple[dict[str, Any], ...] = ({},), **more: Any) -> AsyncIterator[Stage]:
    async with providers(1) as (provider,):
        made = [entry(provider, **one) for one in entries]
        async with gateway(settings(*made, use=use, **more)) as gate:
            yield Stage(provider, gate, SettledLines(gate))


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
async def test_the_same_request_is_answered_from_the_cache_byte_for_byte_and_in_the_other_form(step):
    """With each client API and each provider API, including ids and times (theopenco/llmgateway#3899). The other
    form is a stream or a complete response (Portkey-AI/gateway#19, theopenco/llmgateway#529, gumieri/nenya#18)."""
    async with open_stage(entries=tuple({"name": api, "api": api} for api in APIS)) as stage:
        cases = [*itertools.product(APIS, APIS, (False, True))]
        for number, case in enumerate(cases[::step]):
            client, api, stream = case
            more = {"temperature": number / 100, **({"store": False} if client == "responses" else {})}
            first = await stage.ask(f"cached-{api}", client, stream=stream, **more)
            assert stage.provider.take_count() == 1, case
            again = await stage.ask(f"cached-{api}", client, stream=stream, **more)
            assert (first.status_code, stage.provider.take_count()) == (200, 0), (case, first.text)
            assert again.content == first.content, case
            assert (first.headers["x-trigate-cache"], again.headers["x-trigate-cache"]) == ("miss", "hit"), case
            assert (again.headers["cache-control"], again.headers["age"]) == ("no-store", "0"), case
            assert again.headers["x-trigate-target"] == first.headers["x-trigate-target"], case
            other = await stage.ask(f"cached-{api}", client, stream=not stream, **more)
            assert (other.headers["x-trigate-cache"], stage.provider.take_count()) == ("hit", 0), case
            kind = "application/json" if stream else "text/event-stream"
            assert other.headers["content-type"].startswith(kind), case
            assert "Hello." in _text(client, other), case


async def test_a_hit_consumes_no_tokens_and_reports_its_savings():
    """BerriAI/litellm#39057, theopenco/llmgateway#2518"""
    async with open_stage(entries=({"price": {"input": 1, "output": 10}},)) as stage:
        for stream in (False, True):
            first = await stage.ask(stream=stream, seed=int(stream))
            paid = (await stage.lines.next())[0]
            answer = await stage.ask(stream=stream, seed=int(stream))
            found = (await stage.lines.next())[0]
            assert (paid["cache"], paid["cost_usd"]) == ("miss", pytest.approx(81e-6))
            assert (found["cache"], found["cost_usd"], found["attempts"]) == ("hit", 0, 0)
            assert (found["input_tokens"], found["output_tokens"]) == (0, 0)
            assert (found["saved_input_tokens"], found["saved_output_tokens"]) == (11, 7)
            assert found["saved_usd"] == paid["cost_usd"]
            assert answer.content == first.content, "with the usage that the provider has stated"
        if has_feature("metrics"):
            page = Numbers((await stage.gate.get("/metrics")).text)
            assert page("trigate_cache_requests_total", outcome="hit") == 2
            assert page("trigate_cache_saved_tokens_total") == 36
            assert page("trigate_cache_saved_dollars_total") == pytest.approx(162e-6)
            assert page("trigate_tokens_total") == 36


async def test_recorded_pauses_are_no_silence_of_a_provider():
    """A hit failed with a timeout of the provider after a limit had become shorter than a recorded pause."""
    stream = render(Script(text="Hello."), "chat", {"stream": True, "model": "m"})
    with fake_upstream() as upstream:
        pieces = (stream.pieces[0], b"".join(stream.pieces[1:]))
        upstream.script(attrs.evolve(stream, pieces=pieces, end="length", interval=0.5))
        made = {"model": "openai/m", "name": "m", "access_key": "k", "base_url": f"{upstream.url}/v1"}
        written = settings(made, use={"ttl": "1h", "pace": "recorded"})
        async with gateway(written) as gate:
            for limits in ({}, {"first_byte": "0.2s", "idle": "0.2s", "total": "0.4s"}):
                gate.reload({**written, "timeouts": limits})
                answer = await gate.ask("cached-m", "chat", stream=True)
                assert _text("chat", answer) == "Hello.", answer.text
            assert answer.headers["x-trigate-cache"] == "hit"


def _text(client: str, answer: Any) -> str:
    if answer.headers["content-type"].startswith("application/json"):
        said = answer.json()
        found = {"chat": "choices", "messages": "content", "responses": "output"}[client]
        return json.dumps(said[found])
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    deltas = (json.loads(line) for line in lines)
    if client == "chat":
        assert answer.text.rstrip().endswith("data: [DONE]")
        return "".join(choice["delta"].get("content") or "" for one in deltas for choice in one.get("choices", ()))
    if client == "messages":
        assert "message_stop" in answer.text
        return "".join(one["delta"].get("text", "") for one in deltas if one["type"] == "content_block_delta")
    assert "response.completed" in answer.text
    return "".join(one["delta"] for one in deltas if one["type"] == "response.output_text.delta")


CLIENTS = [
    {"name": "alice", "key": ALICE, "group": "team"},
    {"name": "ben", "key": BEN, "group": "team"},
    {"name": "carl", "key": CARL},
]
GROUPS = [{"name": "team"}]


async def test_responses_are_not_shared_between_owners():
    """BerriAI/litellm#29955, diegosouzapw/OmniRoute#3740"""
    wanted = {"key": [True, True, True], "group": [True, False, True], "all": [True, False, False]}
    for scope, asked in wanted.items():
        use = {"ttl": "1h", "scope": scope}
        async with open_stage(use=use, client_keys=CLIENTS, client_groups=GROUPS) as stage:
            for key, fresh in zip((ALICE, BEN, CARL), asked, strict=True):
                answer = await stage.ask(headers=bearer(key))
                assert (stage.provider.take_count() == 1) is fresh, (scope, key)
                assert answer.headers["x-trigate-cache"] == ("miss" if fresh else "hit")


async def test_a_cached_answer_does_not_show_another_owners_request_members():
    async with open_stage(use={"ttl": "1h", "scope": "all"}, entries=({"api": "responses"},), client_keys=CLIENTS,
                      client_groups=GROUPS) as stage:  # fmt: skip
        for key, number in ((ALICE, "1"), (BEN, "2")):
            more = {"store": False, "metadata": {"ticket": number}}
            answer = await stage.ask(api="responses", headers=bearer(key), **more)
            assert (answer.headers["x-trigate-cache"], stage.provider.take_count()) == ("miss", 1)


async def test_a_client_keys_setting_takes_precedence_over_the_routes():
    keys = [{**CLIENTS[2], "cache": {"ttl": "1h"}}, {"name": "dora", "key": BEN, "cache": False}]
    async with open_stage(client_keys=keys) as stage:
        found = []
        for key, model in ((CARL, "m"), (CARL, "m"), (BEN, "cached-m"), (BEN, "cached-m")):
            answer = await stage.ask(model, headers=bearer(key))
            found.append((answer.headers["x-trigate-cache"], stage.provider.take_count()))
        assert found == [("miss", 1), ("hit", 0), ("off", 1), ("off", 1)]


async def test_without_a_cache_responses_have_no_cache_header():
    async with providers(1) as (provider,), gateway({**settings(entry(provider)), "model_aliases": {}}) as gate:
        answer = await gate.ask("m")
        assert not gate.service.hooks.wrap_origin
        assert {"x-trigate-cache", "age"}.isdisjoint(answer.headers)


async def test_keys_models_rates_and_budgets_are_checked_before_the_cache():
    """andreimerfu/pllm#17: a key that has expired, or exceeds its limit, gets no cached answers."""
    keys = [
        {"name": "alice", "key": ALICE, "ratelimits": {"requests": "1/h"}},
        {"name": "ben", "key": BEN, "models": ["other"]},
        {"name": "carl", "key": CARL, "budgets": ["100 tokens/day"]},
    ]
    use, entries = {"ttl": "1h", "scope": "all"}, ({}, {"name": "other"})
    async with open_stage(use=use, entries=entries, client_keys=keys) as stage:
        assert (await stage.ask(headers=bearer(ALICE))).status_code == 200
        assert (await stage.ask(headers=bearer(ALICE))).status_code == 429
        assert (await stage.ask(headers=bearer(BEN))).status_code == 403
        for _ in range(20):  # of 18 tokens each
            hit = await stage.ask(headers=bearer(CARL))
            assert (hit.status_code, hit.headers["x-trigate-cache"]) == (200, "hit"), "they take no tokens"
        assert (await stage.ask(headers=bearer("tg-nobody-has-this-key-at-all-here"))).status_code == 401
        assert stage.provider.take_count() == 1


async def test_cache_control_is_respected():
    async with open_stage() as stage:
        wanted = (
            ("only-if-cached", 504, None, 0), ("no-store", 200, "bypass", 1), ("only-if-cached", 504, None, 0),
            ("", 200, "miss", 1), ("only-if-cached", 200, "hit", 0), ("no-cache", 200, "bypass", 1),
            ("no-store", 200, "bypass", 1), ("max-age=3600", 200, "hit", 0), ("max-age=0", 200, "miss", 1),
            ("no-transform", 200, "hit", 0),
        )  # fmt: skip
        for number, (header, status, outcome, calls) in enumerate(wanted):
            answer = await stage.ask(headers=(("cache-control", header),))
            found = (answer.status_code, answer.headers.get("x-trigate-cache"), stage.provider.take_count())
            assert found == (status, outcome, calls), (number, header, answer.text)
        assert not any(b"cache-control" in head.lower() for head in stage.provider.heads), "it is said to us alone"


async def test_incomplete_and_failed_responses_are_not_stored():
    """gonka-ai/gonka#1722, vllm-project/semantic-router#2130"""
    async with open_stage() as stage:
        stage.provider.fails = 500
        assert (await stage.ask(stream=True)).status_code >= 500
        stage.provider.fails = None
        stage.provider.cuts = True
        assert "[DONE]" not in (await stage.ask(stream=True)).text
        stage.provider.cuts = False
        stage.provider.take_count()
        assert (await stage.ask(stream=True)).headers["x-trigate-cache"] == "miss"
        assert stage.provider.take_count() == 1


async def test_a_cached_answer_comes_from_the_current_target():
    """lunargate-ai/gateway#2; a changed model, address, key or quirk needs no flush."""
    async with providers(2) as (one, two):
        first = entry(one)
        async with gateway(settings(first)) as gate:
            assert (await gate.ask("cached-m")).headers["x-trigate-cache"] == "miss"
            for other in (
                {**first, "model": "openai/other"}, {**first, "base_url": f"{two.url}/v1"},
                {**first, "access_key": "k2"},
                {**first, "quirks": {"refused_fields": ["seed"]}}, {**first, "headers": {"x-team": "a"}},
            ):  # fmt: skip
                gate.reload(settings(other))
                found = [(await gate.ask("cached-m")).headers["x-trigate-cache"] for _ in range(2)]
                assert found == ["miss", "hit"], other
            gate.reload(settings(first))
            assert (await gate.ask("cached-m")).headers["x-trigate-cache"] == "hit"


async def test_after_a_fallback_the_answer_is_stored_for_the_target_that_returned_it():
    async with providers(2) as (one, two):
        entries = [entry(one, "first"), entry(two, "second")]
        alias = {"best": {"targets": ["first", "second"], "cache": {"ttl": "1h"}}}
        content = {"version": "v0.4.0", "model_providers": entries, "model_aliases": alias}
        async with gateway({**content, "circuit": {"failures": 100}}) as gate:
            one.fails, lines = 500, SettledLines(gate)
            found = [(await gate.ask("best")).headers for _ in range(2)]
            assert [head["x-trigate-cache"] for head in found] == ["miss", "hit"]
            for line in await lines.next(2):
                assert [one["cause"] for one in line["tried"]] == ["first", "fallback"]
            assert [head["x-trigate-target"] for head in found] == ["openai/second"] * 2
            assert two.take_count() == 1
            one.fails = None
            answer = await gate.ask("best")
            assert (answer.headers["x-trigate-cache"], answer.headers["x-trigate-target"]) == ("miss", "openai/first")


@needs_feature("steps")
@pytest.mark.parametrize("stream", [False, True])
async def test_the_refusal_of_a_cached_response_outranks_an_earlier_failure(stream):
    step = {"use": "regex", "name": "no-answers", "at": ["response"], "with": {"patterns": {"all": "."}}}
    async with providers(2) as (one, two):
        content = {
            "version": "v0.4.0", "model_providers": [entry(one, "first"), entry(two, "second")],
            "model_aliases": {"best": {"targets": ["first", "second"], "cache": {"ttl": "1h", "scope": "all"}}},
            "client_keys": [{"name": "alice", "key": ALICE}, {"name": "ben", "key": BEN}],
            "steps": [{**step, "for": {"clients": ["ben"]}}], "circuit": {"failures": 100},
        }  # fmt: skip
        async with gateway(content) as gate:
            one.fails, lines = 500, SettledLines(gate)
            assert (await gate.ask("best", headers=bearer(ALICE))).status_code == 200
            refused = await gate.ask("best", headers=bearer(BEN), stream=stream)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_filter")
            assert (one.take_count(), two.take_count()) == (2, 1)
            _, line = await lines.next(2)
            assert (line["ended"], [one["reason"] for one in line["tried"]]) == ("refused", ["server_error", "refused"])


async def test_requests_with_stored_objects_or_hosted_tools_bypass_the_cache():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    file = {"type": "file", "file": {"file_id": "file-1"}}
    cases = (
        ("chat", {"tools": [tool]}, "miss"),
        ("chat", {"tools": [{"type": "web_search"}]}, "bypass"),
        ("chat", {"web_search_options": {}}, "bypass"),
        ("chat", {"n": 2}, "bypass"),
        ("chat", {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}}, "bypass"),
        ("chat", {"messages": [{"role": "user", "content": [file]}]}, "bypass"),
        ("chat", {"messages": [{"role": "user", "content": "x" * 2**20}]}, "bypass"),
        ("responses", {"store": False, "previous_response_id": None}, "miss"),
        ("responses", {"store": False, "prompt": {"id": "pmpt_1"}}, "bypass"),
        ("responses", {"store": False, "tools": [{"type": "mcp", "server_label": "a", "server_url": "x"}]}, "bypass"),
        ("responses", {"store": False, "input": [{"type": "item_reference", "id": "x"}]}, "bypass"),
        ("messages", {"mcp_servers": [{"type": "url", "url": "https://x", "name": "n"}]}, "bypass"),
        ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "bypass"),
    )
    async with open_stage(entries=tuple({"name": api, "api": api} for api in APIS)) as stage:
        for api, members, wanted in cases:
            answer = await stage.ask(f"cached-{api}", api, **members)
            assert answer.headers["x-trigate-cache"] == wanted, (api, members.keys(), answer.text[:200])


async def test_a_setting_limits_the_cache_to_deterministic_requests():
    """Continuum-AI-Corp/OrcaRouter-Lite#84: a request without a temperature uses the provider's default."""
    use = {"ttl": "1h", "when": "deterministic"}
    async with open_stage(use=use, entries=tuple({"name": api, "api": api} for api in APIS)) as stage:
        for api in APIS:
            for members, wanted in (({}, "bypass"), ({"temperature": 0.1}, "bypass"), ({"temperature": 0}, "miss")):
                more = {"store": False} if api == "responses" else {}
                answer = await stage.ask(f"cached-{api}", api, **members, **more)
                assert answer.headers["x-trigate-cache"] == wanted, (api, members)


async def test_in_strict_mode_the_key_includes_the_form_and_notes_of_a_request():
    for strict in (False, True):
        async with open_stage(use={"ttl": "1h", "strict": strict}) as stage:
            notes = ({}, {"user": "u"}, {"metadata": {"a": "b"}}, {"service_tier": "flex"}, {"stream": True})
            found = [(await stage.ask(**members)).headers["x-trigate-cache"] for members in notes]
            assert found == (["miss"] * 5 if strict else ["miss", *["hit"] * 4])


async def test_a_turn_that_the_gateway_stores_is_answered_from_the_cache_too():
    async with open_stage(entries=({"state": "ours", "api": "chat"},)) as stage:
        first, again = [(await stage.ask(api="responses")).json() for _ in range(2)]
    assert stage.provider.take_count() == 1
    assert again["output"][0]["content"] == first["output"][0]["content"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_turn_of_a_conversation_is_never_answered_from_the_cache(stream):
    """The first turn, which has no history, is no exception."""
    async with providers(1) as (provider,):
        content = settings(entry(provider, state="ours"))
        async with gateway(content, store=MemoryStore(60, 2**20)) as gate:
            for _ in range(2):
                created = (await gate.post("/v1/conversations", json={})).json()
                answer = await gate.ask("cached-m", "responses", stream=stream, conversation=created["id"])
                assert (answer.status_code, answer.headers["x-trigate-cache"]) == (200, "bypass")
            once = (await gate.ask("cached-m", "responses")).json()
            for _ in range(2):
                more = {"previous_response_id": once["id"], "stream": stream}
                assert (await gate.ask("cached-m", "responses", **more)).headers["x-trigate-cache"] == "bypass"
            assert provider.take_count() == 5


async def test_clients_of_gemini_and_converse_are_answered_from_the_cache_in_both_forms():
    gemini = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    converse = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    google, own = {"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}
    whole = ("/v1beta/models/cached-m:generateContent", "/model/cached-m/converse")
    streamed = ("/v1beta/models/cached-m:streamGenerateContent?alt=sse", "/model/cached-m/converse-stream")
    async with open_stage() as stage:
        for body, *paths in ((gemini, whole[0], streamed[0]), (converse, whole[1], streamed[1])):
            first, again, other, once_more = [
                await stage.gate.post(path, json=body) for path in (paths[0], paths[0], paths[1], paths[1])
            ]
            assert (first.status_code, stage.provider.take_count()) == (200, 1), first.text
            assert again.content == first.content, paths
            assert other.content == once_more.content, paths
            assert b"Hello." in other.content
            assert [one.headers["x-trigate-cache"] for one in (first, again, other)] == ["miss", "hit", "hit"], paths
        for tool, wanted in ((google, "miss"), (own, "bypass")):
            found = await stage.gate.post(whole[0], json={**gemini, "tools": [tool]})
            assert found.headers.get("x-trigate-cache") in (wanted, None), (tool, found.text)
            assert found.status_code == 200 or wanted == "bypass", found.text


async def test_only_headers_that_change_an_answer_are_part_of_the_key():
    async with open_stage(entries=({"api": "messages"},)) as stage:
        wanted = (
            ((), "miss"), ((("anthropic-beta", "context-1m-2025-08-07"),), "miss"),
            ((("anthropic-version", "2023-06-01"),), "miss"), ((("openai-beta", "x"),), "miss"),
            ((("x-request-id", "mine"), ("traceparent", f"00-{'1' * 32}-{'2' * 16}-01")), "hit"),
            ((("x-stainless-retry-count", "1"), ("user-agent", "other"), ("idempotency-key", "k")), "hit"),
        )  # fmt: skip
        for headers, outcome in wanted:
            answer = await stage.ask(api="messages", headers=headers)
            assert answer.headers["x-trigate-cache"] == outcome, headers


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hedge_uses_the_cached_answer_of_its_own_target(stream):
    async with providers(2) as (slow, other):
        price = {"input": 1000, "output": 1000}
        entries = [entry(slow, "a", price=price), entry(other, "b", price=price)]
        route = {"targets": ["a", "b"], "hedge": {"after": "20ms", "at_most": "100%"}, "cache": {"ttl": "1h"}}
        content = {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": route}}
        async with gateway({**content, "budgets": ["1 usd/day"]}) as gate:
            lines = SettledLines(gate)
            slow.fails = 503
            assert (await gate.ask("r", stream=stream)).headers["x-trigate-target"].endswith("/b")
            slow.fails = None
            assert (slow.take_count(), other.take_count()) == (1, 1)
            first = (await lines.next())[0]
            with slow.hold_answers():
                answer = await gate.ask("r", stream=stream)
            assert (answer.status_code, answer.headers["x-trigate-cache"]) == (200, "hit"), answer.text
            assert (slow.take_count(), other.take_count()) == (1, 0)
            line = (await lines.next())[0]
            tried = {one["target"]: (one["cause"], one["reason"]) for one in line["tried"]}
            assert tried == {"a": ("first", "hedge_lost"), "b": ("hedge", "ok")}
            level = limit_level(gate.service.allowances)
            assert (level.used, level.held) == (round((first["cost_usd"] + line["cost_usd"]) * 10**9), 0)
            answer = await gate.ask("r", stream=stream, user="x")
            assert (answer.status_code, "a=" in answer.headers["x-trigate-tried"]) == (200, True), answer.headers


BEGUN: list[trio.Event] = []
"""Set when a check begins."""


async def refuse_third(check: Check) -> list[Finding]:
    """Return a finding for the third check, after the fourth has begun."""
    number = sum(event.is_set() for event in BEGUN)
    BEGUN[number].set()
    if number != 2:
        return []
    await BEGUN[3].wait()
    await trio.testing.wait_all_tasks_blocked()
    return [Finding("any", check.passages[0], 0, 1)]


@needs_feature("steps")
async def test_an_answer_that_arrived_while_a_hedge_tried_its_cached_one_is_used():
    BEGUN[:] = [trio.Event() for _ in range(4)]
    step = {"use": f"{__name__}:refuse_third", "name": "third", "at": ["response"], "action": "refuse"}
    async with providers(2) as (slow, other):
        route = {"targets": ["a", "b"], "hedge": {"after": "20ms", "at_most": "100%"}, "cache": {"ttl": "1h"}}
        content = {"version": "v0.4.0", "model_providers": [entry(slow, "a"), entry(other, "b")], "steps": [step]}
        async with gateway({**content, "model_aliases": {"r": route}}) as gate, trio.open_nursery() as nursery:
            slow.fails = 503  # its error is checked, too
            assert (await gate.ask("r")).headers["x-trigate-target"].endswith("/b")
            slow.fails = None
            lines, answers = SettledLines(gate), list[Any]()

            async def ask() -> None:
                answers.append(await gate.ask("r"))

            with slow.hold_answers(), trio.fail_after(5):
                nursery.start_soon(ask)
                await BEGUN[2].wait()
            line = (await lines.next())[0]
        (answer,) = answers
        assert (answer.status_code, answer.headers["x-trigate-target"][-2:]) == (200, "/a"), answer.text
        assert (line["cache"], line["output_tokens"], line["lane"]) == ("miss", 7, "byte")
