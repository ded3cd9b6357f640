"""Steps and stored interactions: whole, streamed and in the background, with their stored forms and replays."""

import base64
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.harness import eventually, provider
from tests.support.interactions_api import PATH
from tests.support.step_gateway import client_keys, key_of, own_steps, placeholder_of, step_gateway
from tests.support.upstreams import Script, ToolCall

CODE: Final = """
import re
from pathlib import Path
from trigate.steps import Finding

SEEN = Path(__file__).with_name("seen")
WORD = re.compile(r"falcon-\\d+")

async def words(check):
    with SEEN.open("a") as file:
        for one in check.passages:
            file.write(check.at + ": " + one.text.replace("\\n", " ") + "\\n")
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]
"""
STEPS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"action": "mask"},
    "window": {"action": "mask", "hold": 9},
    "refuse": {"action": "refuse"},
    "restore": {"action": "mask", "restore": True},
}
FORMS: Final = ("whole", "streamed", "background", "background stream")
forms = pytest.mark.parametrize("form", FORMS)
targets = pytest.mark.parametrize("target", ["chat", "interactions"])


@pytest.fixture(scope="module")
def seen_file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("steps") / "seen"


@pytest.fixture(scope="module")
def gateway(upstream, seen_file):
    entries = [
        provider("openai/m", upstream.url + "/v1", ["chat"], name="on-chat"),
        provider("gemini/m", upstream.url + "/v1beta", ["interactions"], name="on-interactions"),
    ]
    steps = own_steps(STEPS)
    keys = client_keys(STEPS)
    more = {"client_keys": keys, "steps": steps}
    with step_gateway(seen_file.parent, entries, CODE, **more) as served:
        yield served


def send(gateway, client: str, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    reply = gateway.request(method, path, body, {"x-goog-api-key": key_of(client)})
    return reply.status, reply.body


def stream_events(data: bytes) -> list[Any]:
    lines = [line[6:] for line in data.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def read_ended_turn(gateway, client: str, id: str) -> Any:
    """Wait for the end of a turn, and return the stored interaction."""

    def read() -> Any:
        status, kept = send(gateway, client, "GET", f"{PATH}/{id}?include_input=true")
        assert status == 200, kept
        return value if (value := json.loads(kept))["status"] not in ("queued", "in_progress") else None

    return eventually(read, what="the end of the turn")


def ask(gateway, client: str, target: str, form: str, input: Any, **more: Any) -> tuple[bytes, Any]:
    """Make a turn in one of ``FORMS``; return what its client received, and the interaction that is stored."""
    stream, background = "stream" in form, "background" in form
    body = {"model": f"on-{target}", "input": input, "stream": stream, **more}
    status, data = send(gateway, client, "POST", PATH, {**body, **({"background": True} if background else {})})
    assert status == 200, data
    id = stream_events(data)[0]["interaction"]["id"] if stream else json.loads(data)["id"]
    return data, read_ended_turn(gateway, client, id)


@forms
@targets
def test_no_way_to_a_turn_shows_a_masked_value(gateway, upstream, target, form):
    call = ToolCall("c1", "f", '{"city": "falcon-44"}')
    thoughts = {"generation_config": {"thinking_summaries": "auto"}}
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    for client in ("mask", "window"):
        upstream.script(Script(text="it is falcon-77", thinking="about falcon-55", calls=(call,), stop="tool_calls"))
        data, kept = ask(gateway, client, target, form, "about falcon-12", tools=tools, **thoughts)
        id = kept["id"]
        _, replayed = send(gateway, client, "GET", f"{PATH}/{id}?stream=true")
        for shown in (data, json.dumps(kept).encode(), replayed, upstream.seen[-1].body):
            assert b"falcon" not in shown, client
        steps = json.dumps(kept["steps"])
        assert kept["steps"][0]["type"] == "user_input"
        # Reasoning that the gateway has sealed is left out if a step changes it.
        assert len(re.findall(r"\[WORD_[0-9a-f]+\]", steps)) == (4 if target == "interactions" else 3)
        replay = "".join(json.dumps(one.get("delta", one.get("step", ""))) for one in stream_events(replayed))
        assert "[WORD_" in replay


@targets
def test_a_hidden_thought_leaves_nothing_in_its_signature(gateway, upstream, target):
    """The signature of a thought that the client does not see may contain the thought."""
    for thought in ("about falcon-55", "about nothing"):
        upstream.script(Script(text="fine", thinking=thought))
        _, kept = ask(gateway, "mask", target, "whole", "hi")
        thoughts = [step for step in kept["steps"] if step["type"] == "thought"]
        sealed = [base64.b64decode(step["signature"]).removeprefix(b"tg1.") for step in thoughts]
        texts = [base64.urlsafe_b64decode(one + b"==") for one in sealed]
        assert not any(b"falcon" in one for one in texts)
        assert len(texts) == (target == "chat" and "falcon" not in thought)


@forms
@targets
def test_each_string_reaches_a_step_once(gateway, upstream, seen_file, target, form):
    """Requests include earlier turns and contents of each kind; responses include text and arguments."""
    upstream.script(Script(text="first falcon-1"), Script(text="answer-marker", thinking="thought-marker"))
    _, first = ask(gateway, "mask", target, form, "earlier-marker")
    seen_file.write_text("")
    input = [
        {"type": "user_input", "content": [{"type": "text", "text": "text-marker"}]},
        {"type": "user_input", "content": [{"type": "text", "text": "other-marker"}]},
    ]
    more = {"system_instruction": "system-marker", "generation_config": {"thinking_summaries": "auto"}}
    ask(gateway, "mask", target, form, input, previous_interaction_id=first["id"], **more)
    lines = seen_file.read_text().splitlines()
    for at, marker in (
        ("request", "earlier-marker"), ("request", "text-marker"), ("request", "other-marker"),
        ("request", "system-marker"), ("response", "answer-marker"), ("response", "thought-marker"),
    ):  # fmt: skip
        assert sum(line.startswith(f"{at}: ") and marker in line for line in lines) == 1, (marker, lines)


@forms
def test_a_refused_answer_is_not_stored(gateway, upstream, form):
    upstream.script(Script(text="it is falcon-77"))
    body = {"model": "on-chat", "input": "hi", "stream": "stream" in form, "background": "background" in form}
    status, data = send(gateway, "refuse", "POST", PATH, body)
    assert b"falcon" not in data
    if form == "whole":
        assert (status, json.loads(data)["error"]["code"]) == (400, "content_filter"), data
        return
    if "stream" in form:
        assert b"content_filter" in data, data
        return
    kept = read_ended_turn(gateway, "refuse", json.loads(data)["id"])
    assert (kept["status"], "falcon" in json.dumps(kept)) == ("failed", False)


@forms
@targets
def test_values_return_to_their_client_and_are_stored_for_it(gateway, upstream, target, form):
    placeholder = placeholder_of("restore", "falcon-12")
    upstream.script(Script(text=f"you said {placeholder}"), Script(text="fine"))
    data, kept = ask(gateway, "restore", target, form, "about falcon-12")
    assert "you said falcon-12" in json.dumps(kept["steps"])
    assert "about falcon-12" in json.dumps(kept["steps"])
    if form == "whole":
        assert b"you said falcon-12" in data
    _, replayed = send(gateway, "restore", "GET", f"{PATH}/{kept['id']}?stream=true")
    texts = [one["delta"].get("text", "") for one in stream_events(replayed) if "delta" in one]
    assert "".join(texts) == "you said falcon-12"
    ask(gateway, "restore", target, form, "and?", previous_interaction_id=kept["id"])
    assert b"falcon" not in upstream.seen[-1].body
    assert upstream.seen[-1].body.count(placeholder.encode()) == 2
