"""The live view in a browser: no text is cut, and all states that it shows are true."""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import Page, browsing, needs_chromium
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Wire, config, free_port, post, provider, refusing_port
from tests.support.upstreams import JSON, PATHS, Raw, Script, Upstream, fake_upstream
from tests.support.websocket_client import Client

pytestmark = pytest.mark.slow

LONG = "large-language-model-for-everything-that-somebody-may-want-to-know"
QUESTION = "What is the weather in Oslo today?"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browsing() as found:
        yield found


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with fake_upstream() as found:
        yield found


def place(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {"model": f"vllm/{name}", "name": name, "base_url": f"{url}/v1", "access_key": f"key-of-{name}", **more}


def question(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": QUESTION}], **more}


@pytest.mark.soak
@needs_chromium
def test_a_target_is_being_tried_only_while_a_request_is_in_flight(page, upstream):
    one = place("gpu-1", upstream.url, circuit={"failures": 1, "cooldown": "300ms"})
    with gateway_thread(config([one])) as process:
        page.open(f"{process.url}/ui")
        upstream.script(Raw(503, JSON, (b"{}",)), Raw(200, JSON, (), "hang"))
        assert process.request("POST", PATHS["chat"], question("gpu-1")).status == 503
        told = page.until("/tries/.test(document.getElementById('out').innerText) && out.innerText")
        assert re.fullmatch(r"In cooldown: gpu-1 \(\w+, the next request tries it\)", told)
        with Wire.connect(process.port) as client:
            client.send(post(PATHS["chat"], question("gpu-1")))
            told = page.until("/tried by/.test(document.getElementById('out').innerText) && out.innerText")
            assert re.fullmatch(r"In cooldown: gpu-1 \(\w+, tried by one request\)", told)
        page.until("/tries/.test(document.getElementById('out').innerText)")  # the client has left


CLIPPED = """
[...document.querySelectorAll('#view-live td:not(.id)')]
  .filter(cell => cell.offsetParent)
  .filter(cell => cell.scrollWidth > cell.clientWidth || cell.scrollHeight > cell.clientHeight + 1)
  .map(cell => cell.innerText)
"""


@pytest.mark.soak
@needs_chromium
def test_targets_and_reasons_are_shown_completely(page, upstream):
    with refusing_port() as refused:
        entries = [place("gpu-cluster-amsterdam-2-" + LONG, f"http://127.0.0.1:{refused}"), place(LONG, upstream.url)]
        route = {"targets": [entry["name"] for entry in entries]}
        with gateway_thread(config(entries, model_aliases={"everything": route})) as process:
            upstream.script(Script(text="Rain."))
            assert process.request("POST", PATHS["chat"], question("everything")).status == 200
            assert process.request("POST", PATHS["chat"], question("nobody's " * 12)).status == 404
            page.open(f"{process.url}/ui")
            page.until("document.querySelectorAll('#recent tbody tr').length === 2")
            for look in itertools.product(("light", "dark"), (1280, 1100, 880, 760, 400)):
                page.look(look[0], width=look[1], height=900)
                text = page.text("#recent")
                assert f"everything\n→ vllm/{LONG}" in text, look
                assert f"tried {entries[0]['name']}=connection, {LONG}=ok" in text, look
                assert page.value(CLIPPED) == [], look
                assert page.value("document.documentElement.scrollWidth <= window.innerWidth"), look


BODIES = {
    "chat": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]},
    "messages": {"max_tokens": 9, "system": [{"type": "text", "text": "Be brief."}],
                 "messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]},
    "responses": {"instructions": "Be brief.", "input": QUESTION},
}  # fmt: skip


@pytest.mark.soak
@needs_chromium
def test_a_prompt_is_readable_if_the_operator_shows_prompts(page, upstream):
    one = place("m", upstream.url, speaks=list(BODIES))
    with gateway_thread(config([one], ui_prompts=True)) as process:
        page.open(f"{process.url}/ui")
        page.complaints.clear()  # about gateways that have ended
        for api, members in BODIES.items():
            upstream.script(Script(text="Rain."))
            body = {"model": "m", "stream": True, **members}
            assert process.request("POST", PATHS[api], body).status == 200
            page.open(f"{process.url}/ui")
            page.until("document.querySelectorAll('#recent tbody tr').length")
            page.click("#recent tbody tr button")
            page.until("document.getElementById('opened-state').innerText === 'ended: complete'")
            assert page.text("#turns").split("\n\n") == ["system", "Be brief.", "user", QUESTION], api
            assert json.loads(page.value("document.getElementById('body').textContent")) == body
            page.press("Escape")
            assert page.value("document.getElementById('turns').textContent") == ""
        assert page.complaints == []


@needs_feature("responses_websocket")
def test_the_prompt_of_a_turn_over_a_websocket_is_kept_too(upstream):
    with gateway_thread(config([place("m", upstream.url)], ui_prompts=True)) as process:
        upstream.script(Script(text="Rain."))
        with Client.connect(process.port) as websocket:
            assert websocket.ask("m", QUESTION)[-1]["type"] == "response.completed"
        opened = process.request("GET", "/ui/streams/1")
        assert opened.status == 200
        assert QUESTION in opened.body.decode()


@pytest.mark.soak
@needs_chromium
def test_no_prompt_is_shown_by_default(page, upstream):
    with gateway_thread(config([place("m", upstream.url)])) as process:
        upstream.script(Script(text="Rain."))
        assert process.request("POST", PATHS["chat"], question("m", stream=True)).status == 200
        page.open(f"{process.url}/ui")
        page.until("document.querySelectorAll('#recent tbody tr').length")
        page.click("#recent tbody tr button")
        page.until("document.getElementById('opened-state').innerText === 'ended: complete'")
        assert page.value("document.getElementById('prompt').hidden")
        assert QUESTION not in page.value("document.body.textContent")


def test_viewers_of_the_live_view_occupy_no_request_slot(upstream):
    port = free_port()
    settings = config([provider("openai/m", upstream.url, ["chat"])], port, limits={"in_flight": 1})
    upstream.script(Script(text="one"))
    with gateway_thread(settings, port) as own, contextlib.ExitStack() as viewers:
        for _ in range(3):
            viewer = viewers.enter_context(Wire.connect(port))
            viewer.send(b"GET /ui/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            viewer.read_until(b"event: all")
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        assert own.request("POST", PATHS["chat"], body).status == 200
