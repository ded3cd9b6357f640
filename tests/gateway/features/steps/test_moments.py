"""Steps with routing, limits, the cache and several choices."""

import json
import re
from typing import Any, Final

import pytest

from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature
from tests.support.harness import Reply, eventually, exchanges, provider
from tests.support.step_gateway import bearer, client_keys, own_steps, post_as, step_gateway
from tests.support.upstreams import Script, ToolCall, fake_upstream
from tests.support.wire_clients import ALL, body_of, events_of, path_of

CODE: Final = """
import re
from pathlib import Path
from trigate.steps import Finding

CALLS = Path(__file__).with_name("calls")
WORD = re.compile(r"falcon-\\d+")

async def words(check):
    with CALLS.open("a") as file:
        file.write(f"{check.at} {check.client} {len(check.passages)}\\n")
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]


async def masking(check):
    return [Finding("word", one, one.text.index("falcon"), one.text.index("falcon") + 6, action="mask")
            for one in check.passages if "falcon" in one.text]

async def other(check):
    return [Finding("word", one, one.text.index("eagle"), one.text.index("eagle") + 5, "<BIRD>", "mask")
            for one in check.passages if "eagle" in one.text]

async def clean(check):
    return []

async def broken(check):
    raise ValueError("falcon-9 is in this error")
"""

STEPS: Final[dict[str, dict[str, Any]]] = {
    "refuse": {"action": "refuse"},
    "mask": {"action": "mask"},
    "stop": {"action": "refuse", "refusal": {"as": "stop", "message": "Not here."}},
    "cloud": {"action": "mask", "for": {"entries": ["cloud"]}},
    "cloud-refuse": {"action": "refuse", "at": ["request"], "for": {"entries": ["cloud"]}},
    "cloud-during": {"action": "refuse", "at": ["during"], "for": {"entries": ["cloud"]}},
    "cloud-stop": {
        "action": "refuse",
        "at": ["request"],
        "refusal": {"as": "stop", "message": "Not there."},
        "for": {"entries": ["cloud"]},
    },
    "broken": {"use": "./steps.py:broken", "at": ["response"]},
    "counted": {"action": "refuse"},
    "poor": {"action": "refuse"},
    "cached": {"action": "mask", "at": ["response"]},
    "clean": {"action": "refuse", "at": ["response"]},
    "returned": {"use": "./steps.py:masking"},
    **{
        f"returned-{name}": {"use": f"./steps.py:{name}", "for": {"clients": ["returned-together"]}}
        for name in ("clean", "masking", "other")
    },
    "several": {"use": "secrets", "at": ["request"]},
    "several-tools": {"use": "tools", "at": ["request"], "with": {"allow": ["x"]}, "for": {"clients": ["several"]}},
    "several-mask": {"action": "mask", "at": ["request"], "for": {"clients": ["several"]}},
}


@pytest.fixture(scope="module")
def failing():
    """Serve a provider that answers every request with an error."""
    with fake_upstream() as served:
        yield served


@pytest.fixture(scope="module")
def gateway(upstream, failing, folder):
    url = upstream.url + "/v1"
    entries = [
        provider("openai/plain", url, ["chat"], name="plain"),
        provider("openai/local", failing.url + "/v1", ["chat"], name="local"),
        provider("openai/away", failing.url + "/v1", ["chat"], name="away"),
        provider("openai/cloud", url, ["chat"], name="cloud"),
    ]
    steps = own_steps(STEPS)
    limits = {
        "counted": {"ratelimits": {"requests": "2/m", "tokens": "1000/m"}},
        "poor": {"ratelimits": {"requests": "1/m"}},
    }
    keys = [{**row, **limits.get(row["name"], {})} for row in client_keys((*STEPS, "returned-together"))]
    more = {
        "client_keys": keys,
        "steps": steps,
        "circuit": {"failures": 10**6, "error_rate": "100%"},
        "model_aliases": {
            "both": {"targets": ["local", "cloud"], "retries": {"wait": "1ms"}},
            "away-first": {"targets": ["away", "cloud"], "retries": {"wait": "1ms"}},
            "cloud-first": {"targets": ["cloud", "plain", "local"], "retries": {"wait": "1ms"}},
            "twice": {"targets": ["plain", "cloud"], "retries": {"wait": "1ms"}},
            **members_of("answer_cache", kept={"targets": ["plain"], "cache": {"ttl": "1h"}}),
        },
    }
    with step_gateway(folder, entries, CODE, **more) as served:
        yield served


def ask(
    gateway, client: str, prompt: str, *, model: str = "plain", stream: bool = False, api: str = "chat", **more: Any
):
    body = {**body_of(api, model, prompt, stream=stream), **more}
    return post_as(gateway, client, path_of(api, model, stream=stream), body)


def take_calls(folder) -> list[str]:
    file = folder / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.write_text("")
    return lines


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_causes_no_retry_and_no_fallback(gateway, upstream, stream):
    upstream.script(Script(text="falcon-77"), Script(text="fine"))
    status, headers, _ = ask(gateway, "refuse", "hi", model="twice", stream=stream)
    assert (status, len(upstream.seen)) == (400, 1)
    assert headers["x-trigate-attempts"] == "1"
    (line,) = eventually(lambda: exchanges(gateway.log, headers["x-request-id"]), what="the log line")
    assert (line["ended"], line["refused_by"]) == ("refused", "refuse")
    assert line["tried"][0]["output_tokens"] == 7


@each_row("stream", [False, True])
@each_row(
    ("client", "status", "code", "refused_by"),
    [("refuse", 400, "content_filter", "refuse"), ("broken", 503, "step_unavailable", None)],
)
def test_a_refused_response_outranks_an_earlier_failure(
    gateway, upstream, failing, client, status, code, refused_by, stream
):
    """The client of a provider's error sends the request again, and pays again."""
    failing.script()
    upstream.script(Script(text="falcon-77"))
    found, headers, body = ask(gateway, client, "hi", model="both", stream=stream)
    assert (found, json.loads(body)["error"]["code"]) == (status, code)
    assert "tried" not in json.loads(body)["error"]["message"]
    (line,) = eventually(lambda: exchanges(gateway.log, headers["x-request-id"]), what="the log line")
    assert (line["ended"], line.get("refused_by")) == ("refused", refused_by)
    assert [one["reason"] for one in line["tried"]] == ["server_error", "refused"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallback_to_a_cloud_is_masked(gateway, upstream, failing, stream):
    """A step for some entries runs before the first attempt at one of them, and not before."""
    failing.script()
    upstream.script(Script(text="fine"))
    status, headers, _ = ask(gateway, "cloud", "about falcon-12", model="both", stream=stream)
    assert status == 200
    assert all(b"falcon-12" in seen.body for seen in failing.seen)
    assert [b"falcon-12" in seen.body for seen in upstream.seen] == [False]
    assert failing.seen
    assert headers["x-trigate-steps"] == "cloud=masked"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("model", ["both", "cloud-first"])
@pytest.mark.parametrize("client", ["cloud-refuse", "cloud-during", "cloud-stop"])
def test_no_attempt_follows_a_refusal_or_a_stop_before_an_attempt(
    gateway, upstream, failing, stream, api, model, client
):
    """The step of the cloud gives the response before the first attempt, or before the fallback."""
    failing.script()
    upstream.script(Script(text="fine"))
    more = {"store": False} if api in ("responses", "interactions") else {}
    status, headers, body = ask(gateway, client, "about falcon-12", model=model, stream=stream, api=api, **more)
    assert (status, upstream.seen) == (200 if client == "cloud-stop" else 400, []), body
    assert headers["x-trigate-refused-by"] == client
    assert len(failing.seen) <= (model == "both") * 5
    assert b"falcon" not in body
    if client != "cloud-stop":
        assert b"content_filter" in body
        return
    assert b"Not there." in body
    check_stop(api, body, stream=stream)
    if api == "gemini":
        assert b'"blockReason"' in body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_only_a_background_turn_is_stored_with_a_stop_after_a_failed_attempt(
    gateway, upstream, failing, stream, background
):
    """Its client has the id before the step runs. The failed entry has no other test, so that it does not cool down."""
    failing.script()
    upstream.script()
    more = {"background": background, "store": True}
    status, _, body = ask(
        gateway, "cloud-stop", "about falcon-12", model="away-first", stream=stream, api="responses", **more
    )
    assert status == 200, body
    states = (
        [one["response"] for one in events_of("responses", body) if "response" in one] if stream else [json.loads(body)]
    )

    def stored_turn() -> Reply:
        return gateway.request("GET", f"/v1/responses/{states[0]['id']}", headers=bearer("cloud-stop"))

    if not background:
        assert (states[-1]["status"], states[-1]["store"]) == ("incomplete", False)
        assert stored_turn().status == 404
        return
    eventually(lambda: stored_turn().json["status"] not in ("queued", "in_progress"), what="the end of the turn")
    stored = stored_turn().json
    assert (stored["status"], stored["incomplete_details"]["reason"]) == ("incomplete", "content_filter")
    assert "Not there." in json.dumps(stored["output"])
    assert failing.seen
    assert not upstream.seen


def test_limits_are_checked_before_steps(gateway, upstream, folder):
    """https://github.com/ENTERPILOT/GoModel/issues/972"""
    upstream.script(Script(text="fine"))
    assert ask(gateway, "poor", "hi")[0] == 200
    take_calls(folder)
    assert ask(gateway, "poor", "hi")[0] == 429
    assert take_calls(folder) == []
    assert len(upstream.seen) == 1


def test_a_refused_request_counts_as_a_request_and_costs_no_tokens(gateway, upstream):
    upstream.script(Script(text="fine"), Script(text="fine"))
    assert ask(gateway, "counted", "about falcon-12")[0] == 400
    assert ask(gateway, "counted", "hi")[0] == 200
    assert ask(gateway, "counted", "hi")[0] == 429


@needs_feature("answer_cache")
@pytest.mark.parametrize("stream", [False, True])
def test_steps_check_each_cached_response_and_masked_ones_are_not_kept(gateway, upstream, folder, stream):
    """https://github.com/ENTERPILOT/GoModel/issues/971"""
    upstream.script(*[Script(text="it is falcon-77")] * 2)
    for _ in range(2):
        assert b"falcon-77" not in ask(gateway, "cached", "once", model="kept", stream=stream)[2]
    assert len(upstream.seen) == 2
    take_calls(folder)
    upstream.script(Script(text="fine"))
    found = [
        ask(gateway, "clean", f"fine {stream}", model="kept", stream=stream)[1]["x-trigate-cache"] for _ in range(2)
    ]
    assert found == ["miss", "hit"]
    assert take_calls(folder) == ["response clean 1"] * 2


ENDS: Final = {
    "chat": lambda body: body["choices"][0]["finish_reason"],
    "messages": lambda body: body["stop_reason"],
    "responses": lambda body: body["incomplete_details"]["reason"],
    "gemini": lambda body: body["candidates"][0]["finishReason"],
    "converse": lambda body: body["stopReason"],
    "interactions": lambda body: body["status"],
}
WORDS: Final = {
    "chat": "content_filter",
    "messages": "refusal",
    "responses": "content_filter",
    "gemini": "SAFETY",
    "converse": "guardrail_intervened",
    "interactions": "incomplete",
}


def check_stop(api: str, body: bytes, *, stream: bool) -> None:
    """Check that a response ends with the API's word for filtered content."""
    if stream:
        assert WORDS[api] in json.dumps(events_of(api, body))
    else:
        assert ENDS[api](json.loads(body)) == WORDS[api]


@each_row("stream", [False, True])
@each_row("api", WORDS)
@each_row("prompt", ["about falcon-12", "hi"])
def test_a_stop_has_the_apis_word_for_filtered_content(gateway, upstream, api, prompt, stream):
    """https://github.com/BerriAI/litellm/issues/36880"""
    upstream.script(Script(text="falcon-77"))
    status, headers, body = ask(gateway, "stop", prompt, api=api, stream=stream)
    assert status == 200, body
    check_stop(api, body, stream=stream)
    assert b"Not here." in body
    assert b"falcon" not in body
    assert headers["x-trigate-refused-by"] == "stop"
    if api == "gemini" and prompt != "hi":
        assert b'"blockReason"' in body
    if api == "responses":
        assert b'"incomplete"' in body
    assert len(upstream.seen) == (prompt == "hi")


@needs_feature("metrics")
def test_metrics_count_outcomes_failures_and_findings(gateway, upstream):
    upstream.script(Script(text="fine"))
    ask(gateway, "mask", "about falcon-12 and falcon-13")

    def page() -> str:
        return gateway.request("GET", "/metrics", headers=bearer("mask")).body.decode()

    row = 'trigate_step_outcomes_total{at="request",outcome="masked",step="mask"}'
    eventually(lambda: row in page(), what="the outcome")
    text = page()
    assert 'trigate_step_findings_total{label="word",step="mask"}' in text
    assert 'trigate_step_seconds_count{at="request",step="mask"}' in text
    assert "falcon" not in text


def test_a_mask_in_the_name_of_a_member_is_a_refusal(gateway, upstream):
    """JSON has no place for a placeholder there: https://github.com/BerriAI/litellm/issues/30723."""
    upstream.script(Script(text="fine"))
    status, headers, body = ask(gateway, "mask", "hi", metadata={"falcon-12": "x"})
    assert (status, upstream.seen) == (400, [])
    assert b"content_filter" in body
    assert b"word in the name of a member" in body
    assert headers["x-trigate-refused-by"] == "mask"
    assert b"falcon" not in body


@each_row("stream", [False, True])
def test_a_mask_in_the_name_of_an_argument_is_a_refusal_with_its_label(gateway, upstream, stream):
    upstream.script(Script(calls=(ToolCall("call_1", "f", '{"falcon-12": 1}'),), stop="tool_calls"))
    status, _, body = ask(gateway, "mask", "hi", stream=stream)
    assert status == 400, body
    assert b"word in the name of a member" in body
    assert b"falcon" not in body


def test_the_header_has_the_steps_in_the_order_of_the_file(gateway, upstream):
    """Steps that cannot mask run at the same time, and one with nothing to read is listed as well."""
    upstream.script(Script(text="fine"))
    _, headers, _ = ask(gateway, "several", "about falcon-12")
    assert headers["x-trigate-steps"] == "several=ok, several-tools=ok, several-mask=masked"


@each_row(("client", "end"), [("returned", "and the eagle"), ("returned-together", "and the <BIRD>")])
def test_a_request_has_masks_that_code_returns_and_a_response_is_refused(gateway, upstream, client, end):
    """The settings of the step have no mask."""
    upstream.script(Script(text="fine"))
    assert ask(gateway, client, "the falcon and the eagle")[0] == 200
    (sent,) = upstream.seen
    assert re.fullmatch(rf"the \[WORD_[0-9a-f]{{10,}}\] {end}", sent.json["messages"][0]["content"])
    upstream.script(Script(text="a falcon"))
    status, _, body = ask(gateway, client, "hi")
    assert status == 400
    assert b"falcon" not in body
