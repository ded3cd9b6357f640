"""Each text of a conversation reaches each step exactly once, whichever way the request refers to earlier turns:
https://github.com/api7/aisix/issues/1166."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.features import rows_of
from tests.support.harness import eventually, provider
from tests.support.step_gateway import bearer, client_keys, step_gateway
from tests.support.upstreams import Script
from tests.support.websocket_client import Client

CODE: Final = """
import re
from pathlib import Path
from trigate.steps import Finding

WORD = re.compile(r"falcon-\\d+")

class Words:
    def __init__(self, settings):
        self.file = Path(__file__).with_name(settings["file"])

    def __call__(self, check):
        with self.file.open("a") as file:
            file.write("".join(f"{one.text}\\n" for one in check.passages if check.at == "request"))
        return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]
"""
STEPS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"action": "mask"},
    "restore": {"action": "mask", "restore": True},
    "report": {"action": "report"},
    "refuse": {"action": {"other": "refuse", "word": "report"}},
}
MARKERS: Final = re.compile(r"\bmarker-[a-z]+\b")


@pytest.fixture(scope="module")
def gateway(upstream, folder) -> Iterator[Any]:
    entries = [provider("openai/m", upstream.url + "/v1", ["chat"], name="m", state="ours")]
    steps = [
        {"use": "./steps.py:Words", "name": f"{name}-{order}", "for": {"clients": [name]}, **more,
         "with": {"file": f"{name}-{order}"}}
        for name, more in STEPS.items() for order in (1, 2)
    ]  # fmt: skip
    keys = client_keys(STEPS)
    with step_gateway(folder, entries, CODE, client_keys=keys, steps=steps) as served:
        yield served


def call(gateway, client: str, path: str, body: Any) -> Any:
    reply = gateway.request("POST", path, body, bearer(client))
    assert reply.status == 200, reply.body
    return reply.json


def respond(gateway, client: str, input: Any, **more: Any) -> Any:
    return call(gateway, client, "/v1/responses", {"model": "m", "input": input, **more})


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **more}


# Each way makes earlier turns, then sends the last request after calling ``forget``.


def after_a_response(gateway, client: str, forget: Any) -> None:
    first = respond(gateway, client, "marker-a falcon-11")
    second = respond(gateway, client, "marker-b falcon-12", previous_response_id=first["id"])
    forget()
    respond(gateway, client, "marker-c falcon-13", previous_response_id=second["id"], instructions="marker-d")


def with_references(gateway, client: str, forget: Any) -> None:
    first = respond(gateway, client, [message("marker-a falcon-11", id="msg_mine")])
    answered = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    forget()
    more = [{"type": "item_reference", "id": "msg_mine"}, *answered, message("marker-c falcon-13")]
    respond(gateway, client, more, instructions="marker-b marker-d")


def in_a_conversation(gateway, client: str, forget: Any) -> None:
    begun = call(gateway, client, "/v1/conversations", {"items": [message("marker-a falcon-11")]})
    call(gateway, client, f"/v1/conversations/{begun['id']}/items", {"items": [message("marker-b falcon-12")]})
    respond(gateway, client, "marker-e falcon-14", conversation=begun["id"])
    forget()
    respond(gateway, client, "marker-c falcon-13", conversation=begun["id"], instructions="marker-d")


def in_a_thread(gateway, client: str, forget: Any) -> None:
    def send(text: str, thread: dict[str, Any]) -> Any:
        body = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": text}], "thread": thread}
        return call(gateway, client, "/v1/messages", body)

    first = send("marker-a falcon-11", {"type": "create"})
    second = send("marker-b falcon-12", {"type": "continue", "previous_message_id": first["id"]})
    forget()
    send("marker-c marker-d falcon-13", {"type": "continue", "previous_message_id": second["id"]})


def over_a_websocket(gateway, client: str, forget: Any) -> None:
    previous: dict[str, Any] = {}
    with Client.connect(gateway.port, bearer(client)) as socket:
        for text in ("marker-a falcon-11", "marker-b falcon-12", "marker-c marker-d falcon-13"):
            forget()
            events = socket.ask("m", text, store=False, **previous)
            previous = {"previous_response_id": events[-1]["response"]["id"]}


WAYS: Final = (
    after_a_response, with_references, in_a_conversation, in_a_thread,
    *rows_of("responses_websocket", over_a_websocket),
)  # fmt: skip


@pytest.mark.parametrize("client", STEPS)
@pytest.mark.parametrize("way", WAYS)
def test_each_text_reaches_each_step_once(gateway, upstream, folder, client, way):
    upstream.script(*[Script(text=f"marker-{name} falcon-77") for name in ("x", "y", "z")])
    files = [folder / f"{client}-{order}" for order in (1, 2)]

    for file in files:
        file.write_text("")
    read_requests = 0

    def wait_for_steps() -> None:
        """Wait for steps that only report: a response does not wait for them."""
        sent = Counter(MARKERS.findall(b"".join(one.body for one in upstream.seen[read_requests:]).decode()))
        for file in files:
            eventually(lambda file=file: sent <= Counter(MARKERS.findall(file.read_text())), what="the last report")

    def forget() -> None:
        nonlocal read_requests
        wait_for_steps()
        read_requests = len(upstream.seen)
        for file in files:
            file.write_text("")

    way(gateway, client, forget)
    wait_for_steps()
    sent = Counter(MARKERS.findall(upstream.seen[-1].body.decode()))
    assert {"marker-a", "marker-b", "marker-c", "marker-d", "marker-x"} <= set(sent)
    assert set(sent.values()) == {1}
    for file in files:
        assert Counter(MARKERS.findall(file.read_text())) == sent
    assert (b"falcon" in upstream.seen[-1].body) is (client in ("report", "refuse"))
