"""The live view: its permitted viewers, its effect on streams, which is none, and the streams that a browser shows."""

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.features.live_view.opening import MOST_VIEWERS
from tests.support.browser import Page, browsing, needs_chromium
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import (
    Gateway,
    Wire,
    config,
    eventually,
    free_port,
    post,
    refusing_port,
    running,
)
from tests.support.raw_call import (
    SSE,
    Call,
    answer_stream,
    call,
    chunks,
    connect_with_small_buffer,
    fill_buffers,
    line,
    lines,
    new_id,
    settings,
)
from tests.support.streams_page import Cell
from tests.support.upstreams import PATHS, Raw
from tests.support.websocket_client import Client

pytestmark = pytest.mark.slow

HUB = Cell("messages", "chat", True, "", "", "")
BYTE = Cell("chat", "chat", True, "", "", "")
FILES = (
    "/ui", "/ui/style.css", "/ui/live.js", "/ui/charts.js", "/ui/opened.js", "/ui/prompt.js", "/ui/events.js",
    "/ui/tables.js", "/ui/cache.js",
)  # fmt: skip


@pytest.fixture(scope="module")
def gateway(by_hand) -> Iterator[Gateway]:
    content = settings(by_hand)
    with refusing_port() as refused:
        gone = {
            "model": "mistral/gone",
            "name": "gone",
            "base_url": f"http://127.0.0.1:{refused}/v1",
            "access_key": "x",
        }
        content["model_providers"] = [*content["model_providers"], gone]
        for one in content["model_providers"]:
            one |= {"price": {"input": 1, "output": 2000}, "budgets": ["5000 usd/day"]}
        content["model_aliases"] = {"routed": {"targets": ["gone", "openai/on-chat"]}}
        yield from serve(content)


def serve(content: Mapping[str, Any]) -> Iterator[Gateway]:
    with gateway_thread(content) as process:
        yield process
        text = "\n".join(process.log)
        assert "Traceback" not in text, text[-3000:]


@contextlib.contextmanager
def viewer(gateway: Gateway, path: str = "/ui/events", sock: socket.socket | None = None) -> Iterator[Wire]:
    with Wire(sock) if sock is not None else Wire.connect(gateway.port) as wire:
        wire.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        yield wire


# Without a browser


@each_row("path", FILES)
def test_the_page_comes_from_the_package_under_a_strict_policy(gateway, path):
    reply = gateway.request("GET", path)
    assert reply.status == 200
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert reply.headers["cache-control"] == "no-store"
    outside = re.findall(rb"https?://[^\s\"']+", reply.body)
    assert set(outside) <= {b"http://www.w3.org/2000/svg"}  # a name, which is not fetched


BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_browser_that_requests_only_the_address_is_redirected_to_the_page(gateway):
    reply = gateway.request("GET", "/", headers=BROWSER)
    assert (reply.status, reply.headers["location"]) == (303, "/ui")
    assert gateway.request("GET", reply.headers["location"], headers=BROWSER).status == 200
    for method, accept in (("GET", "*/*"), ("HEAD", "*/*"), ("GET", "application/json")):
        assert gateway.request(method, "/", headers={"accept": accept}).status == 200


@each_row("path", ["/ui/events", "/ui/streams/1"])
def test_a_stream_without_a_body_is_refused_and_is_no_viewer(gateway, path):
    reply = gateway.request("HEAD", path)
    assert (reply.status, reply.headers["allow"], reply.body) == (405, "GET", b"")


def test_a_view_is_no_exchange(gateway):
    id = new_id()
    assert gateway.request("GET", "/ui", headers={"x-request-id": id}).status == 200
    assert gateway.request("GET", "/ui/streams/4711", headers={"x-request-id": id}).status == 404
    gateway.request("POST", "/v1/nothing", {}, {"x-request-id": f"{id}-behind"})
    line(gateway, f"{id}-behind")
    assert not lines(gateway, id)


def test_a_viewer_beyond_the_limit_is_refused_until_another_leaves(by_hand):
    with contextlib.contextmanager(serve)(settings(by_hand)) as gateway:  # the browser is a viewer of the shared one
        with contextlib.ExitStack() as stack:
            for _ in range(MOST_VIEWERS):
                stack.enter_context(viewer(gateway)).read_until(b"event: all")
            assert gateway.request("GET", "/ui/events").status == 503

        def let_in() -> bool:
            with viewer(gateway) as wire:
                return b"200" in wire.read_until(b"\r\n\r\n").split(b"\r\n")[0]

        eventually(let_in, what="a place for a viewer")


def test_a_viewer_that_does_not_read_delays_no_stream(gateway, by_hand):
    with call(gateway, by_hand, HUB) as one:
        one.up.send(SSE + chunks(*answer_stream("chat").opening, answer_stream("chat").first))
        one.client.read_until(b"one t")
        with narrow_viewer(gateway), narrow_viewer(gateway, f"/ui/streams/{number_of(gateway, one)}"):
            for _ in range(3000):
                one.up.send(chunks(answer_stream("chat").first))
            one.up.send(chunks(*answer_stream("chat").rest) + b"0\r\n\r\n")
            text = one.client.read_until(b"message_stop")
    assert text.count(b"one t") == 3001
    assert line(gateway, one.id)["ended"] == "complete"


def narrow_viewer(gateway: Gateway, path: str = "/ui/events") -> contextlib.AbstractContextManager[Wire]:
    return viewer(gateway, path, connect_with_small_buffer(gateway.port).sock)


def rows_of(gateway: Gateway) -> list[dict[str, Any]]:
    """Return the streams in flight in the first event for a viewer."""
    with viewer(gateway) as wire:
        text = wire.read_until(b"\n\n\r\n").partition(b"event: all\ndata: ")[2]
        found: dict[str, Any] = json.loads(text.partition(b"\n")[0])
    return [dict(zip(found["columns"], row, strict=True)) for row in found["streams"]]


def number_of(gateway: Gateway, one: Call) -> int:
    return next(row["n"] for row in rows_of(gateway) if row["id"] == one.id)


def test_a_client_that_does_not_read_is_shown_as_slow(gateway, by_hand):
    with call(gateway, by_hand, BYTE, connect_with_small_buffer) as one:
        one.up.send(SSE)
        fill_buffers([one])

        def phase() -> str | None:
            return next((row["phase"] for row in rows_of(gateway) if row["id"] == one.id), None)

        eventually(lambda: phase() == "slow client", what="the phase")
    line(gateway, one.id)


def reloads(process: Gateway) -> int:
    (count,) = re.findall(rb'^trigate_config_reloads_total\{result="accepted"\} (\S+)', metrics(process), re.M) or [
        b"0"
    ]
    return int(float(count))


def metrics(process: Gateway) -> bytes:
    return process.request("GET", "/metrics").body


@pytest.fixture(scope="module")
def configured(by_hand, tmp_path_factory) -> Iterator[tuple[Gateway, Callable[..., None]]]:
    """Yield a gateway and a function that changes its configuration. The gateway has a viewer when it is stopped, and
    ``running`` asserts that the viewer does not delay the end."""
    port, file = free_port(), tmp_path_factory.mktemp("ui") / "config.yaml"
    file.write_text(yaml.safe_dump(settings(by_hand, port, metrics={"open": True})))
    with contextlib.ExitStack() as stack, running(file, port) as process:

        def change(**more: Any) -> None:
            known = reloads(process)
            file.write_text(yaml.safe_dump(settings(by_hand, port, metrics={"open": True}, **more)))
            os.kill(process.pid, signal.SIGHUP)
            eventually(lambda: reloads(process) > known, what="the reload")

        yield process, change
        change()
        stack.enter_context(viewer(process)).read_until(b"event: all")


def exchange_count(process: Gateway) -> int:
    """Return the number of ended exchanges."""
    counts = re.findall(rb"^trigate_exchanges_total\{.*\} (\S+)", metrics(process), re.M)
    return int(sum(map(float, counts)))


@needs_feature("metrics")
@pytest.mark.process
def test_the_live_view_lists_only_models_that_the_client_may_use(configured):
    process, change = configured
    limited = [{"name": "me", "key": "of-the-client", "models": ["openai/on-chat"]}]
    change(client_keys=limited, ui_key="of-the-operator")
    assert process.request("GET", "/ui/models").status == 401
    for key, few in (("of-the-client", True), ("of-the-operator", False)):
        found = process.request("GET", "/ui/models", headers={"authorization": f"Bearer {key}"})
        names = [model["name"] for model in found.json]
        assert (names == ["openai/on-chat"]) is few
        assert "openai/on-chat" in names
        assert all(way["url"].startswith("http") is not few for model in found.json for way in model["ways"])
    one = next(model for model in found.json if model["name"] == "openai/on-messages")
    assert [(way["clients"], way["lane"], way["api"]) for way in one["ways"]] == [
        (["chat", "responses", "gemini", "converse", "interactions"], "hub", "messages"),
        (["messages"], "byte", "messages"),
    ]


@needs_feature("responses_websocket")
@needs_feature("metrics")
@pytest.mark.process
def test_an_open_live_view_ends_when_its_key_expires(configured):
    process, change = configured
    end = datetime.now(UTC) + timedelta(seconds=2)
    change(client_keys=[{"name": "me", "key": "of-the-client", "until": end.isoformat()}])
    shown = {"authorization": "Bearer of-the-client"}
    with Client.connect(process.port, shown) as websocket:
        opened = process.request("GET", "/ui/events", headers=shown)  # it is read to its end
        assert opened.status == 200
        assert datetime.now(UTC) >= end
        (answer,) = websocket.ask("openai/on-chat")
        assert (answer["type"], answer["status"]) == ("error", 401)
        assert "expired on" in answer["error"]["message"]
    refused = process.request("GET", "/ui/events", headers=shown)
    assert (refused.status, b"expired on" in refused.body) == (401, True)


@needs_feature("metrics")
@pytest.mark.soak
@pytest.mark.process
def test_a_reload_changes_the_log_level(configured):
    process, change = configured
    silent, logged = new_id(), new_id()
    for level, id in (("warning", silent), ("info", logged)):
        change(log_level=level)
        before = exchange_count(process)
        process.request("POST", "/v1/nothing", {}, {"x-request-id": id})
        eventually(lambda before=before: exchange_count(process) > before, what="the end of the exchange")
    assert line(process, logged)["status"] == 404
    assert not lines(process, silent)


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with browsing() as page:
        yield page


@pytest.fixture
def page(browser, gateway) -> Iterator[Page]:
    browser.look()
    browser.complaints.clear()
    browser.open(f"{gateway.url}/ui")
    browser.until("document.getElementById('state').textContent === 'live'")
    yield browser
    assert browser.complaints == []


def row(id: str) -> str:
    """Return the JavaScript expression for the table row of a stream in flight."""
    return f"[...document.querySelectorAll('#streams tbody tr')].find(row => row.cells[0].innerText === '{id}')"


def ended_row(id: str) -> str:
    return f"[...document.querySelectorAll('#recent tbody tr')].find(row => row.cells[0].innerText === '{id}')"


def open_stream(page: Page, id: str) -> None:
    """Open a stream in flight."""
    page.until(row(id))
    page.value(f"{row(id)}.querySelector('button').click()")
    page.until("document.getElementById('opened-state').innerText.startsWith('open')")


def open_ended(page: Page, id: str, how: str) -> None:
    """Open an exchange that has ended, and check ``how``."""
    page.until(ended_row(id))
    page.value(f"{ended_row(id)}.querySelector('button').click()")
    page.until(f"document.getElementById('opened-state').innerText === 'ended: {how}'")


ONE_T = """
[...document.querySelectorAll('#passed .pair')].filter(pair => pair.innerText.includes('one t'))
  .map(pair => [...pair.querySelectorAll('[role=group]')].map(side => side.innerText))
"""


@needs_chromium
def test_a_stream_appears_moves_and_ends(page, gateway, by_hand):
    answer = answer_stream("chat")
    with call(gateway, by_hand, HUB) as one:
        assert "waiting" in page.until(f"{row(one.id)}?.innerText")
        page.value(f"{row(one.id)}.querySelector('button').click()")
        page.until("document.getElementById('opened-state').innerText.startsWith('open')")
        one.up.send(SSE + chunks(*answer.opening, answer.first))
        one.client.read_until(b"one t")
        page.until(f"{row(one.id)}.innerText.includes('streaming')")
        page.until("document.getElementById('passed').innerText.includes('content_block_delta')")
        left, right = page.value(f"{ONE_T}[0]")
        assert '"content": "one t"' in left
        assert "text_delta" in right
        before = int(page.value(f"{row(one.id)}.cells[3].innerText"))
        one.up.send(chunks(answer.first) * 40)
        page.until(f"Number({row(one.id)}.cells[3].innerText) > {before + 20}")
        page.until(f"Number({row(one.id)}.cells[4].innerText) > 0")
        assert "{" not in "".join(page.until(f"{ONE_T}[5]"))  # events that differ only in their text are folded
        page.until("document.getElementById('answer').innerText.includes('one tone tone t')")
        one.up.send(chunks(*answer.rest) + b"0\r\n\r\n")
        one.client.read_until(b"message_stop")
        page.until("document.getElementById('opened-state').innerText === 'ended: complete'")
    page.until(f"!{row(one.id)}")
    assert "complete" in page.until(f"{ended_row(one.id)}?.innerText")


@pytest.mark.soak
@needs_chromium
def test_the_page_is_light_or_dark_as_the_viewer_prefers(page, tmp_path):
    assert shoot(page, "light", tmp_path) != shoot(page, "dark", tmp_path)


@needs_feature("metrics")
@pytest.mark.soak
@pytest.mark.process
@needs_chromium
def test_an_opened_stream_continues_after_a_reload(browser, configured, by_hand):
    """The page reported the stream as unavailable, and its viewer had to open it again."""
    process, change = configured
    change()
    browser.open(f"{process.url}/ui")
    browser.until("document.getElementById('state').textContent === 'live'")
    answer = answer_stream("chat")
    with call(process, by_hand, HUB) as one:
        browser.until(f"{row(one.id)}")
        browser.value(f"{row(one.id)}.querySelector('button').click()")
        one.up.send(SSE + chunks(*answer.opening, answer.first))
        browser.until("document.getElementById('answer').innerText.includes('one t')")
        browser.value("document.getElementById('filter').focus()")
        for setting in (True, False):
            change(ui_prompts=setting)
            one.up.send(chunks(answer.first))
            browser.until("document.getElementById('answer').innerText.includes('one tone t')")
            browser.until("document.getElementById('opened-state').innerText.startsWith('open')")
        assert browser.value("document.activeElement.id") == "filter"
        assert browser.value("document.getElementById('answer').innerText.split('one t').length") == 4
        one.up.send(chunks(*answer.rest) + b"0\r\n\r\n")
        one.client.read_until(b"message_stop")
        browser.until("document.getElementById('opened-state').innerText === 'ended: complete'")


def shoot(page: Page, scheme: str, folder: Path) -> bytes:
    page.look(scheme)
    file = folder / f"{scheme}.png"
    page.shoot(file)
    return file.read_bytes()


@pytest.mark.soak
@needs_chromium
def test_the_page_is_accessible_to_screen_readers(page, gateway, by_hand):
    """Each table has a name, and each piece of a stream has a label with its side."""
    with call(gateway, by_hand, HUB) as one:
        page.until(f"{row(one.id)}")
        page.value(f"{row(one.id)}.querySelector('button').focus()")
        page.press("Enter")
        page.until("document.getElementById('opened-state').innerText.startsWith('open')")
        one.up.send(SSE + chunks(*answer_stream("chat").opening, answer_stream("chat").first))
        page.until("document.getElementById('passed').innerText.includes('one t')")
        nodes = page.send("Accessibility.getFullAXTree")["nodes"]
        heard = [(node["role"]["value"], node["name"]["value"]) for node in nodes if "name" in node]
        tables = {name for role, name in heard if role == "table"}
        sides = {name for role, name in heard if role == "group" and name}
        assert tables == {"In flight", "Recently ended"}
        assert sides == {"from the provider", "to the client"}
        one.leave("FIN")
        page.until("document.getElementById('opened-state').innerText.startsWith('ended')")
        page.until(f"!{row(one.id)}")
        page.press("Escape")
        assert page.value("document.activeElement.closest('#recent tr').innerText").startswith(
            one.id
        )  # the focus is here now


@needs_chromium
def test_the_live_view_lists_failed_attempts_during_and_after_a_stream(page, gateway, by_hand):
    """An operator could not see fallbacks: BerriAI/litellm#25503."""
    id = new_id()
    with Wire.connect(gateway.port) as client:
        body = {"model": "routed", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        client.send(post(PATHS["chat"], body, {"x-request-id": id}))
        with by_hand.accept() as up:
            up.read_request()
            page.until(f"{row(id)}")
            page.value(f"{row(id)}.querySelector('button').click()")
            page.until("document.getElementById('facts').innerText.includes('gone=connection')")
            up.send(answer_stream("chat").whole)
            client.read_until(b"[DONE]")
    assert "tried gone=connection, openai/on-chat=ok" in page.until(f"{ended_row(id)}?.innerText")


@pytest.mark.soak
@needs_chromium
def test_an_ended_stream_can_be_opened(page, gateway, by_hand):
    with call(gateway, by_hand, HUB) as one:
        one.up.send(answer_stream("chat").whole)
        one.client.read_until(b"message_stop")
    open_ended(page, one.id, "complete")
    assert "one t" in page.text("#answer")
    text = page.text("#passed")
    assert "chat.completion.chunk" in text
    assert "message_stop" in text
    assert page.value("document.getElementById('passed').scrollTop") == 0  # a reader starts at the top
    page.press("Escape")
    assert page.value("document.activeElement.innerText") == one.id


@pytest.mark.soak
@needs_chromium
def test_frames_and_arrays_are_read_as_text(page, gateway, by_hand):
    asked = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    for path, body, shown in (
        ("/model/openai%2Fon-chat/converse-stream", {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
         "event: contentBlockDelta"),
        ("/v1beta/models/openai%2Fon-chat:streamGenerateContent", asked, 'data: {"candidates"'),
        ("/v1beta/interactions", {"model": "openai/on-chat", "input": "hi", "stream": True}, "event: step.delta"),
    ):  # fmt: skip
        id = new_id()
        with Wire.connect(gateway.port) as client:
            client.send(post(path, body, {"x-request-id": id}))
            with by_hand.accept() as up:
                up.read_request()
                up.send(answer_stream("chat").whole)
                client.read_until(b"0\r\n\r\n")
        open_ended(page, id, "complete")
        assert "one t" in page.text("#answer"), path
        assert shown in page.text("#passed"), path


@pytest.mark.soak
@needs_chromium
def test_an_ended_exchange_that_was_no_stream_shows_its_known_details(page, gateway):
    id = new_id()
    gateway.request("POST", PATHS["chat"], {"model": "nobody's", "messages": []}, {"x-request-id": id})
    open_ended(page, id, "refused")
    assert "nobody's" in page.text("#facts")
    assert "not streamed" in page.text("#passed")


@pytest.mark.soak
@needs_chromium
def test_a_stream_opened_late_shows_its_beginning(page, gateway, by_hand):
    with call(gateway, by_hand, BYTE) as one:
        one.up.send(answer_stream("chat").half)
        one.client.read_until(b"one t")
        page.until(f"{row(one.id)}")
        page.value(f"{row(one.id)}.querySelector('button').click()")
        page.until("document.getElementById('answer').innerText.includes('one t')")
        assert "unchanged" in page.text("#passed")
        one.leave("FIN")


@pytest.mark.soak
@needs_chromium
def test_tokens_are_reported_by_client_and_model(page, gateway, by_hand):
    with call(gateway, by_hand, HUB) as one:
        one.up.send(answer_stream("chat").whole)
        one.client.read_until(b"message_stop")
    page.until(f"{ended_row(one.id)}")
    tokens = int(page.value(f"{ended_row(one.id)}.cells[6].innerText").replace("≈", ""))
    page.value("location.hash = '#tokens'")
    target = line(gateway, one.id)["target"]
    rows = (
        "[...document.querySelectorAll('#tokens-table tbody tr')].map(row => [...row.cells].map(one => one.innerText))"
    )
    cells = page.until(f"{rows}.find(cells => cells[1] === {target!r})")
    assert int(cells[2]) >= 1
    assert int(cells[5].replace(",", "")) >= tokens > 0
    assert "$" in cells[7]
    limits = page.until("document.getElementById('limits-table').innerText")
    assert f"model_providers.{target}" in limits
    assert "5000 usd/day" in limits
    assert page.value("document.getElementById('view-live').hidden")
    page.look(width=400)
    assert page.value(
        "[...document.querySelectorAll('#view-tokens .scroll')].every(box => box.scrollWidth <= box.clientWidth)"
    )


@pytest.mark.soak
@needs_chromium
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_of_models_shows_the_targets_of_each_model(page, width):
    page.look(width=width)
    page.value("location.hash = '#models'")
    page.until("document.querySelectorAll('#models-table tbody tr').length > 2")
    text = page.text("#models-table")
    assert "on-messages" in text
    assert "hub: translated to messages" in text
    assert "/v1/messages" in text
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
    widest = ["a" * 40, "a" * 40, "a" * 40, "chat, responses, gemini, converse", "hub: translated to responses"]
    row, box = "document.querySelector('#models-table tbody tr')", "document.querySelector('#view-models .scroll')"
    page.value(f"{json.dumps(widest)}.forEach((text, at) => {{ {row}.children[at].textContent = text; }})")
    cells = "[...document.querySelectorAll('#models-table td.url')]"
    assert page.value(f"{cells}.every(td => td.getBoundingClientRect().right <= {box}.getBoundingClientRect().right)")
    page.value("location.hash = ''")


@pytest.mark.soak
@needs_chromium
def test_a_stream_whose_client_leaves_is_shown_as_ended(page, gateway, by_hand):
    with call(gateway, by_hand, BYTE) as one:
        one.up.send(answer_stream("chat").half)
        one.client.read_until(b"one t")
        page.until(f"{row(one.id)}?.innerText.includes('streaming')")
        one.leave("FIN")
        page.until(f"!{row(one.id)}")
    text = page.until(f"{ended_row(one.id)}?.innerText")
    assert "client left" in text
    assert "499" in text


@pytest.mark.soak
@needs_chromium
def test_a_stream_that_its_provider_breaks_reports_the_reason(page, gateway, by_hand):
    with call(gateway, by_hand, HUB) as one:
        open_stream(page, one.id)
        one.up.send(answer_stream("chat").half)
        one.client.read_until(b"one t")
        one.up.reset()
        one.client.read_until(b"event: error")
        page.until("document.getElementById('opened-state').innerText === 'ended: upstream error'")
    assert "broke off" in page.text("#passed")
    assert "event: error" in page.text("#passed")
    assert "provider failed" in page.until(f"{ended_row(one.id)}?.innerText")


@needs_chromium
def test_the_page_works_with_only_the_keyboard(page, gateway, by_hand):
    with call(gateway, by_hand, BYTE) as first, call(gateway, by_hand, BYTE) as second:
        page.until(f"{row(first.id)} && {row(second.id)}")
        page.value(f"{row(second.id)}.querySelector('button').focus()")
        page.press("ArrowDown")
        assert page.value("document.activeElement.innerText") == first.id
        page.press("Enter")
        page.until("document.activeElement.id === 'opened-title'")
        assert first.id in page.text("#opened-title")
        page.press("Escape")
        assert page.value("document.getElementById('opened').hidden")
        assert page.value("document.activeElement.innerText") == first.id
        first.leave("FIN")
        second.leave("FIN")


@needs_chromium
def test_all_text_has_enough_contrast(page, gateway):
    """WCAG 2.2, 1.4.3 requires a contrast of 4.5 to 1."""
    gateway.request("POST", PATHS["chat"], {"model": "nobody's"})
    page.until("document.querySelectorAll('#recent tbody tr').length")
    for scheme in ("light", "dark"):
        page.look(scheme)
        assert page.value(_FAINT) == [], scheme


@pytest.mark.soak
@needs_chromium
def test_no_table_and_no_narrow_screen_is_scrolled_sideways(page, gateway, by_hand):
    gateway.request("POST", PATHS["chat"], {"model": "nobody's " * 12, "messages": []}, {"x-request-id": new_id()})
    with call(gateway, by_hand, HUB) as one:
        page.until(f"{row(one.id)} && document.querySelectorAll('#recent tbody tr').length")
        boxes = "[...document.querySelectorAll('#view-live .scroll')].filter(box => box.offsetParent)"
        for width in (1280, 400):
            page.look(width=width, height=800)
            assert page.value(f"{boxes}.length") == 2
            scrolled = f"{boxes}.filter(box => box.scrollWidth > box.clientWidth).map(box => box.innerText)"
            assert page.value(scrolled) == [], width
        page.look(width=380, height=800)
        open_stream(page, one.id)
        one.up.send(answer_stream("chat").half)
        page.until("document.querySelectorAll('#passed .pair').length")
        assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
        one.leave("FIN")


@pytest.mark.soak
@needs_chromium
def test_an_unavailable_target_is_shown_with_its_reason_until_it_is_available_again(browser, upstream):
    busy = Raw(429, (("content-type", "application/json"), ("retry-after", "1")), (b"{}",))
    place = {"model": "vllm/m", "name": "gpu-1", "base_url": f"{upstream.url}/v1", "access_key": "k"}
    with gateway_thread(config([place])) as process:
        browser.open(f"{process.url}/ui")
        browser.until("document.getElementById('state').textContent === 'live'")
        upstream.script(busy)
        body = {"model": "gpu-1", "messages": [{"role": "user", "content": "Hi"}]}
        assert process.request("POST", PATHS["chat"], body).status == 429
        told = browser.until("document.getElementById('out').innerText")
        assert re.fullmatch(r"In cooldown: gpu-1 \(rate_limited, [01]\.\d s\)", told)
        browser.until("document.getElementById('out').hidden")


@pytest.mark.soak
@needs_chromium
def test_the_filter_finds_each_of_many_streams(page, gateway, by_hand):
    many = 210
    with contextlib.ExitStack() as ups:
        with contextlib.ExitStack() as clients:
            for number in range(many):
                client = clients.enter_context(Wire.connect(gateway.port))
                body = {"model": "on-chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
                client.send(post(PATHS["chat"], body, {"x-request-id": f"many-{number:03}"}))
                ups.enter_context(by_hand.accept())
            page.until(f"document.getElementById('tile-flight').innerText === '{many}'")
            page.until(f"document.getElementById('shown').innerText.includes('200 of {many}')")
            assert page.value("document.querySelectorAll('#streams tbody tr').length") == 200
            page.value("document.getElementById('filter').value = 'many-007'")
            page.value("document.getElementById('filter').dispatchEvent(new Event('input'))")
            assert page.value("document.querySelectorAll('#streams tbody tr').length") == 1
            assert page.value(f"Boolean({row('many-007')})")
        page.until("document.getElementById('tile-flight').innerText === '0'")


_FAINT = """
(() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = value => (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
    return .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!(own || element.placeholder) || !element.getClientRects().length) continue;
    const style = getComputedStyle(element, element.placeholder ? "::placeholder" : null);
    const text = light(numbers(element instanceof SVGElement ? style.fill : style.color));
    const ground = light(behind(element));
    const ratio = (Math.max(text, ground) + .05) / (Math.min(text, ground) + .05);
    if (ratio < 4.5) faint.push(`${element.tagName} ${element.className} ${ratio.toFixed(2)}`);
  }
  return faint;
})()
"""
