"""Steps on the requests and responses of every API pair, streamed and not: S1, S16, S29, S33 to S42, S46 of
``step-behaviours.md``; hooks that never ran on streams: https://github.com/BerriAI/litellm/issues/8628."""

from typing import Any, Final

import pytest

from tests.support.harness import exchanges, provider
from tests.support.step_gateway import client_keys, own_steps, post_as, step_gateway
from tests.support.step_providers import BASES, CODE, VENDORS
from tests.support.upstreams import Script, ToolCall
from tests.support.wire_clients import body_of, path_of, text_of

STEPS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"action": "mask"},
    "mask-window": {"action": "mask", "hold": 20, "at": ["response"]},
    "refuse": {"action": "refuse"},
    "refuse-window": {"action": "refuse", "hold": 20, "at": ["response"]},
    "stop": {"action": "refuse", "refusal": {"as": "stop", "message": "Not here."}},
    "report": {"action": "report"},
    "restore": {"action": "mask", "at": ["request"], "restore": True},
    "during": {"action": "refuse", "at": ["during"]},
    "broken": {"use": "./steps.py:broken"},
    "broken-pass": {"use": "./steps.py:broken", "unchecked": "pass"},
}
APIS: Final = ("chat", "messages", "responses")
CLIENT_APIS: Final = (*APIS, "gemini", "converse", "interactions")
UNSTORED: Final[dict[str, dict[str, Any]]] = {"responses": {"store": False}, "interactions": {"store": False}}
"""Members of a request without a stored turn, which is translated."""


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    entries = [
        provider(f"{vendor}/on-{api}", upstream.url + BASES.get(api, "/v1"), [api]) for api, vendor in VENDORS.items()
    ]
    steps = own_steps(STEPS)
    keys = client_keys((*STEPS, "nobody"))
    with step_gateway(tmp_path_factory.mktemp("steps"), entries, CODE, client_keys=keys, steps=steps) as served:
        yield served


def ask(gateway, client: str, api: str, target: str, prompt: str, *, stream: bool):
    model = f"on-{target}"
    body = {**body_of(api, model, prompt, stream=stream), **UNSTORED.get(api, {})}
    return post_as(gateway, client, path_of(api, model, stream=stream), body)


PAIRS: Final = (*((client, target) for client in CLIENT_APIS for target in APIS), *((api, api) for api in BASES))
CELLS: Final = [(client, target, stream) for client, target in PAIRS for stream in (False, True)]
cells = pytest.mark.parametrize(("api", "target", "stream"), CELLS)


@pytest.mark.sample(11)
@cells
def test_a_masked_value_reaches_neither_provider_nor_client(gateway, upstream, api, target, stream):
    upstream.script(Script(text="it is falcon-77 today"))
    status, headers, body = ask(gateway, "mask", api, target, "about falcon-12 and falcon-12", stream=stream)
    assert status == 200, body
    (seen,) = upstream.seen
    assert b"falcon-12" not in seen.body
    assert seen.body.count(b"[WORD_") == 2
    text = text_of(api, body, stream=stream)
    assert b"falcon-77" not in body
    assert text.startswith("it is [WORD_")
    assert text.endswith("] today")
    assert headers["x-trigate-steps"] == "mask=masked"


@pytest.mark.sample(11)
@cells
def test_a_mask_in_a_window_covers_the_whole_value(gateway, upstream, api, target, stream):
    upstream.script(Script(text="a long text about nothing, then it is falcon-77 today, and more follows after it"))
    status, _, body = ask(gateway, "mask-window", api, target, "hi", stream=stream)
    text = text_of(api, body, stream=stream)
    assert status == 200
    assert text.startswith("a long text about nothing, then it is [WORD_")
    assert text.endswith("] today, and more follows after it")
    assert b"alcon" not in body


@pytest.mark.sample(11)
@cells
@pytest.mark.parametrize("client", ["refuse", "during"])
def test_a_refused_request_is_a_400_and_nothing_is_answered(gateway, upstream, client, api, target, stream):
    upstream.script(Script(text="fine"))
    status, headers, body = ask(gateway, client, api, target, "about falcon-12", stream=stream)
    assert status == 400, body
    assert headers["x-should-retry"] == "false"
    assert headers["x-trigate-refused-by"] == client
    assert b"falcon" not in body
    assert b"content_filter" in body
    if client == "refuse":
        assert upstream.seen == []


@pytest.mark.sample(11)
@cells
@pytest.mark.parametrize("client", ["refuse", "refuse-window"])
def test_a_refused_response_is_a_400_before_its_first_content(gateway, upstream, client, api, target, stream):
    upstream.script(Script(text="falcon-77"))
    status, headers, body = ask(gateway, client, api, target, "hi", stream=stream)
    assert status == 400, body
    assert headers["x-trigate-refused-by"] == client
    assert b"falcon" not in body
    assert len(upstream.seen) == 1


CHANGING: Final = ("mask", "mask-window", "stop")


@pytest.mark.sample(11)
@pytest.mark.parametrize(
    ("client", "api", "target", "stream"),
    [*(("refuse", *cell) for cell in CELLS), *((client, *pair, False) for client in CHANGING for pair in PAIRS)],
)
def test_a_clean_exchange_is_unchanged(gateway, upstream, client, api, target, stream):
    """S40: the client gets the provider's bytes in the byte lane. (Streams that a step may change are translated.)"""
    script = Script(text="all is well", calls=(ToolCall("call_1", "f", '{"a": "b"}'),), stop="tool_calls")
    upstream.script(script)
    status, headers, checked = ask(gateway, client, api, target, "hi", stream=stream)
    assert (status, headers["x-trigate-steps"]) == (200, f"{client}=ok"), checked
    upstream.script(script)
    _, plain, unchecked = ask(gateway, "nobody", api, target, "hi", stream=stream)
    assert headers["x-trigate-lane"] == plain["x-trigate-lane"]
    if api == target:
        assert checked == unchecked


@pytest.mark.sample(11)
@cells
def test_a_refusal_as_a_stop_is_an_answer(gateway, upstream, api, target, stream):
    upstream.script(Script(text="it is falcon-77"))
    status, headers, body = ask(gateway, "stop", api, target, "hi", stream=stream)
    assert status == 200, body
    assert text_of(api, body, stream=stream) == "Not here."
    assert headers["x-trigate-refused-by"] == "stop"


@pytest.mark.sample(11)
@cells
def test_a_report_changes_nothing(gateway, upstream, api, target, stream):
    upstream.script(Script(text="it is falcon-77"))
    status, headers, body = ask(gateway, "report", api, target, "about falcon-12", stream=stream)
    assert status == 200
    assert text_of(api, body, stream=stream) == "it is falcon-77"
    assert b"falcon-12" in upstream.seen[0].body
    assert "x-trigate-steps" not in headers


@pytest.mark.sample(11)
@cells
def test_restored_values_are_the_clients_own(gateway, upstream, api, target, stream):
    upstream.script(Script(text="x"))
    ask(gateway, "restore", api, target, "about falcon-12", stream=stream)
    sent = upstream.seen[0].body.decode()
    placeholder = sent[sent.index("[WORD_") : sent.index("]", sent.index("[WORD_")) + 1]
    upstream.script(Script(text=f"you said {placeholder} and [WORD_0123456789] too"))
    status, _, body = ask(gateway, "restore", api, target, "about falcon-12", stream=stream)
    assert status == 200
    assert text_of(api, body, stream=stream) == "you said falcon-12 and [WORD_0123456789] too"


@pytest.mark.sample(11)
@cells
def test_a_broken_step_refuses_or_passes_as_configured(gateway, upstream, api, target, stream):
    upstream.script(Script(text="fine"))
    status, headers, body = ask(gateway, "broken", api, target, "hi", stream=stream)
    assert (status, upstream.seen) == (503, [])
    assert b"step_unavailable" in body
    assert int(headers["retry-after"]) >= 1
    status, headers, body = ask(gateway, "broken-pass", api, target, "hi", stream=stream)
    assert (status, text_of(api, body, stream=stream)) == (200, "fine")
    assert headers["x-trigate-steps"] == "broken-pass=unchecked"


def test_no_value_of_a_client_or_provider_is_in_the_log(gateway):
    assert exchanges(gateway.log)
    assert "falcon" not in "\n".join(gateway.log)


@pytest.mark.parametrize("stream", [False, True])
def test_the_attempt_of_a_refused_response_is_no_failure_of_the_gateway(gateway, upstream, stream):
    upstream.script(Script(text="it is falcon-77"))
    status, headers, _ = ask(gateway, "refuse", "chat", "chat", "hi", stream=stream)
    assert (status, headers["x-trigate-tried"]) == (400, "openai/on-chat=refused")
