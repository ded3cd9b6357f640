"""The built-in kinds on requests and responses of every API pair, streamed and not."""

import re
from typing import Any, Final

import pytest

from tests.support.each_row import each_row
from tests.support.harness import eventually, exchanges, provider
from tests.support.step_gateway import client_keys, post_as, step_gateway
from tests.support.upstreams import Script, ToolCall
from tests.support.wire_clients import body_of, path_of, text_of

KEY: Final = "ghp_" + "a1B2c3D4e5F6" * 3
STEPS: Final[dict[str, dict[str, Any]]] = {
    "pii": {"use": "pii", "at": ["request", "response"], "with": {"labels": ["email", "card"]}},
    "secrets": {"use": "secrets", "at": ["request", "response"]},
    "masked-secrets": {"use": "secrets", "at": ["request", "response"], "action": "mask"},
    "regex": {"use": "regex", "action": "mask", "with": {"patterns": {"project": r"falcon-\d+"}}},
    "tools": {"use": "tools", "with": {"allow": ["read_*"], "arguments": {"read_file": {"path": "^/srv/"}}}},
    "left-out": {"use": "tools", "action": "mask", "with": {"allow": ["read_*"]}},
    "size": {"use": "size", "with": {"characters": 50}},
}
APIS: Final = ("chat", "messages", "responses")
VENDORS: Final = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
CELLS: Final = [(api, target, stream) for api in APIS for target in APIS for stream in (False, True)]
cells = pytest.mark.parametrize(("api", "target", "stream"), CELLS)


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    entries = [provider(f"{VENDORS[api]}/on-{api}", upstream.url + "/v1", [api]) for api in APIS]
    steps = [{"name": name, "for": {"clients": [name]}, **more} for name, more in STEPS.items()]
    keys = client_keys(STEPS)
    with step_gateway(tmp_path_factory.mktemp("kinds"), entries, client_keys=keys, steps=steps) as served:
        yield served
        eventually(lambda: exchanges(served.log), what="a line in the log")
        log = "\n".join(served.log)
        assert not any(value in log for value in ("joe@", "bob@", "4111 1111", "ghp_", "falcon", "/etc/passwd"))


def send(gateway, client: str, api: str, target: str, prompt: str, *, stream: bool, **more: Any):
    model = f"on-{target}"
    body = {**body_of(api, model, prompt, stream=stream), **more}
    return post_as(gateway, client, path_of(api, model, stream=stream), body)


@pytest.mark.sample(7)
@cells
def test_personal_data_reaches_neither_provider_nor_client(gateway, upstream, api, target, stream):
    upstream.script(Script(text="write to bob@example.org, card 4111 1111 1111 1111, today"))
    status, headers, body = send(gateway, "pii", api, target, "I am joe@example.com.", stream=stream)
    assert (status, headers["x-trigate-steps"]) == (200, "pii=masked"), body
    assert b"joe@example" not in upstream.seen[0].body
    assert b"I am [EMAIL_" in upstream.seen[0].body
    text = text_of(api, body, stream=stream)
    assert text.startswith("write to [EMAIL_")
    assert "], card [CARD_" in text
    assert text.endswith("], today")
    assert b"bob@" not in body
    assert b"1111" not in body


@pytest.mark.parametrize("stream", [False, True])
def test_a_secret_is_refused_in_requests_and_responses(gateway, upstream, stream):
    upstream.script(Script(text=f"{KEY} it is"))
    status, headers, body = send(gateway, "secrets", "chat", "chat", f"use {KEY}", stream=stream)
    assert (status, upstream.seen, headers["x-trigate-refused-by"]) == (400, [], "secrets")
    assert b"github_token" in body
    assert KEY.encode() not in body
    status, _, body = send(gateway, "secrets", "chat", "chat", "hi", stream=stream)
    assert status == 400, body
    assert b"ghp_" not in body


@each_row("stream", [False, True])
@each_row(
    ("client", "prompt", "answer", "sent", "received"),
    [
        ("masked-secrets", "hi", f"it is {KEY}", "hi", r"it is \[GITHUB_TOKEN_\w+\]"),
        ("regex", "about falcon-12", "it is falcon-77 then", r"about \[PROJECT_\w+\]", r"it is \[PROJECT_\w+\] then"),
    ],
)
def test_other_kinds_mask_requests_and_responses(gateway, upstream, client, prompt, answer, sent, received, stream):
    upstream.script(Script(text=answer))
    status, _, body = send(gateway, client, "chat", "chat", prompt, stream=stream)
    assert status == 200, body
    assert re.fullmatch(sent, upstream.seen[0].json["messages"][0]["content"])
    assert re.fullmatch(received, text_of("chat", body, stream=stream))


@pytest.mark.sample(11)
@cells
@pytest.mark.parametrize(
    ("name", "arguments", "refused"),
    [
        ("read_file", '{"path": "/srv/a"}', False),
        ("read_file", '{"path": "/etc/passwd"}', True),
        ("delete", "", True),
    ],
)
def test_a_call_is_refused_by_its_name_and_arguments(gateway, upstream, api, target, stream, name, arguments, refused):
    upstream.script(Script(calls=(ToolCall("call_1", name, arguments),), stop="tool_calls"))
    status, _, body = send(gateway, "tools", api, target, "hi", stream=stream)
    assert status == (400 if refused else 200), body
    assert (name.encode() in body) is not refused


DEFINITIONS: Final = {
    "chat": [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("read_a", "delete")],
    "messages": [{"name": name, "input_schema": {"type": "object"}} for name in ("read_a", "delete")],
    "responses": [{"type": "function", "name": name, "parameters": {}} for name in ("read_a", "delete")],
}


@pytest.mark.sample(7)
@cells
def test_a_definition_is_refused_or_left_out(gateway, upstream, api, target, stream):
    tools = DEFINITIONS[api]
    upstream.script(Script(text="fine"))
    status, _, _ = send(gateway, "tools", api, target, "hi", stream=stream, tools=tools)
    assert (status, upstream.seen) == (400, [])
    status, _, body = send(gateway, "left-out", api, target, "hi", stream=stream, tools=tools)
    assert (status, text_of(api, body, stream=stream)) == (200, "fine")
    assert b"read_a" in upstream.seen[0].body
    assert b"delete" not in upstream.seen[0].body
    upstream.script(Script(calls=(ToolCall("call_1", "delete", "{}"),), stop="tool_calls"))
    status, _, _ = send(gateway, "left-out", api, target, "hi", stream=stream, tools=tools[:1])
    assert status == 400


@pytest.mark.sample(7)
@cells
def test_a_large_request_is_refused(gateway, upstream, api, target, stream):
    upstream.script(Script(text="x" * 99))
    assert send(gateway, "size", api, target, "a" * 50, stream=stream)[0] == 200
    status, headers, body = send(gateway, "size", api, target, "a" * 51, stream=stream)
    assert (status, headers["x-trigate-refused-by"]) == (400, "size")
    assert b"characters" in body


@pytest.mark.sample(2)
@pytest.mark.parametrize("stream", [False, True])
def test_a_long_text_in_one_event_is_checked(gateway, upstream, stream):
    """A thread searches it."""
    upstream.script(Script(text="some more words and a number, 1234\n" * 9000 + "bob@example.org"))
    status, _, body = send(gateway, "pii", "chat", "chat", "hi", stream=stream)
    text = text_of("chat", body, stream=stream)
    assert status == 200
    assert text.startswith("some more words and a number, 1234\nsome")
    assert "[EMAIL_" in text
    assert "bob@" not in text
