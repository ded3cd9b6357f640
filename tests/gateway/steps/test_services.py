"""Services as steps of a gateway: LiteLLM's guardrail contract and Presidio's analyzer, over every API, streamed and
whole."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.support.check_services import analyzer, masking
from tests.support.harness import provider
from tests.support.step_gateway import client_keys, post_as, step_gateway
from tests.support.upstreams import Script, ToolCall
from tests.support.wire_clients import body_of, path_of, text_of

REASON: Final = "because of falcon-99"

STEPS: Final[dict[str, dict[str, Any]]] = {
    "guard": {"at": ["request", "response"]},
    "window": {"at": ["response"], "hold": 16},
    "nothing": {"at": ["response"], "hold": "nothing"},
    "during": {"at": ["during"]},
    "returning": {"restore": True},
    "refusing": {"action": "refuse", "at": ["request", "response"]},
    "presidio": {
        "use": "presidio",
        "action": {"PERSON": "mask", "US_SSN": "refuse"},
        "with": {"language": "en", "score": 0.6},
    },
}
APIS: Final = ("chat", "messages", "responses")
VENDORS: Final = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
CELLS: Final = [
    (api, target, stream)
    for api, target in [("chat", "chat"), ("messages", "messages"), ("responses", "responses"), ("gemini", "messages"),
                        ("converse", "chat"), ("messages", "chat")]
    for stream in (False, True)
]  # fmt: skip
cells = pytest.mark.parametrize(("api", "target", "stream"), CELLS)
MASKING: Final = masking(r"falcon-\d+")
PEOPLE: Final = analyzer({"PERSON": "Ann Lee|Zoë 🦅", "US_SSN": r"\d{3}-\d{2}-\d{4}", "DATE_TIME": "today"})


@pytest.fixture(scope="module")
def gateway(upstream, guard, tmp_path_factory):
    entries = [provider(f"{VENDORS[api]}/on-{api}", upstream.url + "/v1", [api]) for api in APIS]
    steps = []
    for name, more in STEPS.items():
        own = {"use": "http", "name": name, "for": {"clients": [name]}, **more}
        steps.append({**own, "with": {"url": guard.url, **more.get("with", {})}})
    keys = client_keys(STEPS)
    with step_gateway(tmp_path_factory.mktemp("services"), entries, client_keys=keys, steps=steps) as served:
        yield served


def ask(
    gateway: Any, client: str, api: str, target: str, prompt: str, *, stream: bool
) -> tuple[int, Mapping[str, str], bytes]:
    model = f"on-{target}"
    body, path = body_of(api, model, prompt, stream=stream), path_of(api, model, stream=stream)
    return post_as(gateway, client, path, body, {"x-secret": "of-the-client"})


@pytest.mark.sample(5)
@cells
def test_the_texts_of_a_guard_reach_provider_and_client(gateway, upstream, guard, api, target, stream):
    guard.use(MASKING)
    upstream.script(Script(text="it is falcon-77 today"))
    status, headers, body = ask(gateway, "guard", api, target, "about falcon-12 please", stream=stream)
    assert status == 200, body
    assert headers["x-trigate-steps"] == "guard=masked"
    (seen,) = upstream.seen
    assert b"falcon-12" not in seen.body
    assert b"about <HIDDEN> please" in seen.body
    assert text_of(api, body, stream=stream) == "it is <HIDDEN> today"
    first, second = guard.requests
    assert (first["input_type"], first["texts"]) == ("request", ["about falcon-12 please"])
    assert first["structured_messages"] == [{"role": "user", "content": "about falcon-12 please"}]
    assert first["request_data"] == {"user_api_key_alias": "guard"}
    assert (second["input_type"], second["texts"]) == ("response", ["it is falcon-77 today"])
    assert "of-the-client" not in str(guard.seen)
    assert "key-of-guard" not in str(guard.seen)


@pytest.mark.sample(5)
@cells
def test_arguments_of_a_call_reach_the_guard_and_the_client_as_it_returns_them(
    gateway, upstream, guard, api, target, stream
):
    guard.use(masking("/etc/passwd", "/dev/null"))
    call = ToolCall("call_1", "read_file", '{"path": "/etc/passwd"}')
    upstream.script(Script(text="reading", calls=(call,), stop="tool_calls"))
    status, _, body = ask(gateway, "guard", api, target, "hi", stream=stream)
    assert status == 200, body
    assert b"/etc/passwd" not in body
    assert b"/dev/null" in body
    (seen,) = guard.requests[-1]["tool_calls"]
    assert seen["type"] == "function"
    assert seen["function"]["name"] == "read_file"
    assert json.loads(seen["function"]["arguments"]) == {"path": "/etc/passwd"}


def block(_: Any) -> Any:
    return {"action": "BLOCKED", "blocked_reason": REASON}


@pytest.mark.sample(17)
@cells
@pytest.mark.parametrize(
    ("client", "at", "respond"),
    [
        *((client, "request", block) for client in ("guard", "during", "refusing")),
        *((client, "request", MASKING) for client in ("during", "refusing")),
        ("guard", "response", block), ("refusing", "response", block), ("refusing", "response", MASKING),
    ],
)  # fmt: skip
def test_a_block_or_an_impossible_mask_is_a_400_without_the_reason_and_the_text(
    gateway, upstream, guard, client, at, respond, api, target, stream
):
    guard.use(lambda request: respond(request) if request["input_type"] == at else {"action": "NONE"})
    upstream.script(Script(text="it is falcon-77"))
    status, headers, body = ask(gateway, client, api, target, "about falcon-12", stream=stream)
    assert (status, headers["x-trigate-refused-by"]) == (400, client), body
    assert respond is not block or b"blocked" in body
    assert b"falcon" not in body
    assert "falcon" not in "\n".join(gateway.log)


@pytest.mark.sample(5)
@cells
def test_in_a_window_each_call_has_the_text_so_far_and_no_value_is_cut(gateway, upstream, guard, api, target, stream):
    guard.use(MASKING)
    text = "one two three four five six falcon-77 seven eight nine ten eleven twelve falcon-88 thirteen"
    upstream.script(Script(text=text))
    status, _, body = ask(gateway, "window", api, target, "hi", stream=stream)
    assert status == 200, body
    assert text_of(api, body, stream=stream) == text.replace("falcon-77", "<HIDDEN>").replace("falcon-88", "<HIDDEN>")
    sent = [one["texts"][0] for one in guard.requests]
    assert all(text.startswith(one) for one in sent)
    assert sent[-1] == text
    if stream:
        assert [len(one) for one in sent] == [*range(16, len(text), 16), len(text)]


@pytest.mark.sample(5)
@cells
def test_values_that_a_guard_masks_return_with_restore(gateway, upstream, guard, api, target, stream):
    guard.use(MASKING)
    upstream.script(Script(text="fine"))
    ask(gateway, "returning", api, target, "about falcon-12", stream=stream)
    masked = str(upstream.seen[0].json).partition("about ")[2].partition("]")[0] + "]"
    assert masked.startswith("[MASKED_")
    upstream.script(Script(text=f"you asked about {masked}, here it is"))
    status, _, body = ask(gateway, "returning", api, target, "about falcon-12", stream=stream)
    assert status == 200
    assert text_of(api, body, stream=stream) == "you asked about falcon-12, here it is"


@pytest.mark.sample(5)
@cells
def test_without_holding_a_mask_of_the_service_refuses_the_response(gateway, upstream, guard, api, target, stream):
    guard.use(masking("falcon-77"))
    upstream.script(Script(text="it is falcon-77, and more follows"))
    status, _, body = ask(gateway, "nothing", api, target, "hi", stream=stream)
    assert b"content_filter" in body
    assert b"<HIDDEN>" not in body
    assert status == 400 or stream


@pytest.mark.sample(5)
@cells
def test_the_service_can_hold_back_more_characters(gateway, upstream, guard, api, target, stream):
    """A value longer than the window is still masked as a whole, because the service holds its beginning back."""

    def respond(request: Any) -> Any:
        (text,) = request["texts"]
        at = text.find("falcon")
        if at < 0 or "!" in text:
            return masking(r"falcon[^!]*!")(request)
        return {"action": "NONE", "stream_holdback_chars": [len(text) - at]}

    guard.use(respond)
    value = "falcon with a name that is much longer than the window of the step!"
    upstream.script(Script(text=f"some words before {value} and some words after it"))
    status, _, body = ask(gateway, "window", api, target, "hi", stream=stream)
    assert status == 200
    assert text_of(api, body, stream=stream) == "some words before <HIDDEN> and some words after it"
    assert b"falcon" not in body


@pytest.mark.sample(5)
@cells
def test_entities_of_presidio_are_masked_or_refused(gateway, upstream, guard, api, target, stream):
    guard.use(PEOPLE)
    upstream.script(Script(text="fine"))
    status, headers, body = ask(gateway, "presidio", api, target, "🙂 I am Zoë 🦅, not Ann Lee, today", stream=stream)
    assert status == 200, body
    assert headers["x-trigate-steps"] == "presidio=masked"
    (request,) = guard.requests
    assert guard.seen[0].path == "/analyze"
    assert request == {
        "text": ["🙂 I am Zoë 🦅, not Ann Lee, today"],
        "language": "en",
        "score_threshold": 0.6,
        "entities": ["PERSON", "US_SSN"],
    }
    (seen,) = upstream.seen
    assert seen.body.count(b"[PERSON_") == 2
    assert "Zoë" not in str(seen.json)
    assert "Ann Lee" not in str(seen.json)
    assert ", today" in str(seen.json)

    guard.use(PEOPLE)
    upstream.script(Script(text="fine"))
    status, headers, body = ask(gateway, "presidio", api, target, "mine is 123-45-6789", stream=stream)
    assert (status, headers["x-trigate-refused-by"]) == (400, "presidio")
    assert b"123-45" not in body
    assert upstream.seen == []
