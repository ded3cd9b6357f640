"""Texts around the difference that broke a prompt's cache: who sees them in the live view, and nowhere else.

The provider is the stand-in, which counts its cache by Anthropic's documented rules."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import browsing, needs_chromium
from tests.support.features import members_of, needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, free_port, provider
from tests.support.prompt_caches import marked_turn

pytestmark = needs_feature("live_view")

MODEL = "claude-sonnet-4-6"
RULES = "Answer as an engineer would, in full sentences and with examples. " * 200  # about 3,300 tokens
OLD, NEW = "zanzibar", "quetzal"
SECRET = "sk-in-the-prompt-0123456789abcdef"
KEYS = [
    {"name": "alice", "key": "key-of-alice-0123456789"},
    {"name": "bob", "key": "key-of-bob-0123456789"},
    {"name": "boss", "key": "key-of-boss-0123456789", "role": "admin"},
    {"name": "eye", "key": "key-of-eye-0123456789", "role": "auditor"},
]
OPERATOR = "key-of-the-operator-0123456789"


def settings(mock: Gateway, port: int, **more: Any) -> dict[str, Any]:
    return config(
        [provider(f"anthropic/{MODEL}", mock.url, ["messages"], name="sonnet")],
        port,
        **{
            "client_keys": KEYS,
            "ui_key": OPERATOR,
            "prompt_cache": {"texts": "1MiB"},
            "audit": "stderr",
            "ui": {"answers": "all"},
            **more,
        },
    )


@pytest.fixture(scope="module")
def gateway(mock, tmp_path_factory) -> Iterator[Gateway]:
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    state = {"type": "sqlite", "path": str(folder / "state.sqlite")}
    open = members_of("metrics", metrics={"open": True})
    with gateway_thread(settings(mock, port, state_storage=state, **open), port) as process:
        yield process
        assert "Traceback" not in "\n".join(process.log)
        stored = b"".join(file.read_bytes() for file in folder.iterdir())
        assert len(stored) > 1000
        assert OLD.encode() not in stored
        assert NEW.encode() not in stored


def ask(gateway: Gateway, client: str, system: str, turns: int = 1, **more: Any) -> dict[str, str]:
    """Send a turn of a conversation, and return the headers of the response."""
    body = marked_turn(f"{client}'s conversation {system[:20]}", system, turns, **more)
    key = f"key-of-{client}-0123456789"
    reply = gateway.request("POST", "/v1/messages", body, {"x-api-key": key})
    assert reply.status == 200, reply.body
    return dict(reply.headers)


def break_prefix(gateway: Gateway, client: str, name: str, **more: Any) -> int:
    """Send two turns whose system texts differ in a word, and return the live view's number of the second one."""
    start, before = f"{name}: {SECRET}. {RULES}", len(numbers_of(gateway, client))
    ask(gateway, client, f"{start} {OLD} {RULES}", **more)
    eventually(lambda: len(numbers_of(gateway, client)) > before, what="the end of the first turn")
    ask(gateway, client, f"{start} {NEW} {RULES}", 3, **more)
    eventually(lambda: len(numbers_of(gateway, client)) > before + 1, what="the end of the second turn")
    return max(numbers_of(gateway, client))


def numbers_of(gateway: Gateway, client: str) -> list[int]:
    return [line["n"] for line in events(gateway, "/ui/events", OPERATOR)["all"]["recent"] if line["client"] == client]


def events(gateway: Gateway, path: str, key: str | None, last: str = "all") -> dict[str, Any]:
    """Return the data of the first events of each name at ``path``, up to the one named ``last``."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
    reply = connection.getresponse()
    try:
        if reply.status != 200:
            return {"status": reply.status, "body": reply.read().decode()}
        found: dict[str, Any] = {}
        name = ""
        for line in iter(reply.readline, b""):
            field, _, value = line.decode().strip().partition(": ")
            name = value if field == "event" else name
            if field == "data":
                found.setdefault(name, json.loads(value))
                if name == last:
                    return found
        raise AssertionError(f"the stream ended without {last}: {found}")
    finally:
        connection.close()


def open_stream(gateway: Gateway, number: int, key: str | None) -> dict[str, Any]:
    found = events(gateway, f"/ui/streams/{number}", key, "ended")
    return dict(found.get("ended", found))


def texts(told: dict[str, Any]) -> tuple[str, str]:
    old, new = (told["difference"][name] for name in ("old", "new"))
    return old["before"] + old["changed"] + old["after"], new["before"] + new["changed"] + new["after"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_operator_and_the_client_see_both_texts_and_no_other_client_does(gateway, stream):
    number = break_prefix(gateway, "alice", f"who sees {stream}", stream=stream)
    for key in (OPERATOR, "key-of-boss-0123456789", "key-of-alice-0123456789"):
        told = open_stream(gateway, number, key)
        assert told["line"]["prompt_cache_cause"] == "system"
        assert told["difference"]["path"] == "system[0]"
        assert [told["difference"][name]["changed"] for name in ("old", "new")] == [OLD, NEW]
        assert all(len(text) <= 200 for text in texts(told))
    assert open_stream(gateway, number, "key-of-bob-0123456789")["status"] == 404
    assert open_stream(gateway, number, "key-of-eye-0123456789")["status"] == 403
    assert open_stream(gateway, number, None)["status"] == 401
    assert open_stream(gateway, number, "guessed")["status"] == 401
    for key in ("key-of-bob-0123456789", "key-of-eye-0123456789", OPERATOR):
        assert NEW not in json.dumps(events(gateway, "/ui/events", key))  # the lists have no texts


def test_each_look_is_in_the_audit(gateway):
    number = break_prefix(gateway, "alice", "audited")
    open_stream(gateway, number, OPERATOR)
    open_stream(gateway, number, "key-of-alice-0123456789")

    def looks() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in gateway.log if '"ui_stream_opened"' in line]
        return [line for line in lines if line.get("path") == f"/ui/streams/{number}"]

    eventually(lambda: len(looks()) == 2, what="both looks in the audit")
    assert {line["by"] for line in looks()} == {"ui_key", "client key"}


def test_keys_in_the_texts_are_masked(gateway):
    for turns, word in ((1, OLD), (3, NEW)):
        ask(gateway, "bob", f"{RULES} the key is {SECRET} {word} {RULES}", turns)
        eventually(lambda turns=turns: len(numbers_of(gateway, "bob")) == turns // 2 + 1, what="the turn's end")
    told = open_stream(gateway, max(numbers_of(gateway, "bob")), OPERATOR)
    assert "the key is [redacted] " in texts(told)[0]
    assert SECRET not in json.dumps(told)


def test_no_text_is_in_any_log_header_metric_or_file(gateway):
    break_prefix(gateway, "alice", "nowhere else")
    lines = "\n".join(gateway.log)
    pages = [gateway.request("GET", path).body.decode() for path in ("/metrics", "/healthz")]
    headers = ask(gateway, "alice", f"nowhere: {NEW} {RULES}")
    for word in (OLD, NEW):
        assert word not in lines
        assert all(word not in page for page in pages)
        assert word not in json.dumps(headers)


def test_without_texts_the_view_says_so_and_keeps_none(mock):
    port = free_port()
    with gateway_thread(settings(mock, port, prompt_cache={}), port) as process:
        told = open_stream(process, break_prefix(process, "alice", "off"), OPERATOR)
    assert told["line"]["prompt_cache_cause"] == "system"
    assert "texts" not in told
    assert "difference" not in told


@needs_feature("steps")
def test_a_masked_value_is_shown_masked(mock):
    """The texts are those after the masks of steps."""
    port = free_port()
    steps = [{"use": "regex", "action": "mask", "with": {"patterns": {"project": "falcon-[0-9]+"}}}]
    with gateway_thread(settings(mock, port, steps=steps), port) as process:
        for turns, word in ((1, OLD), (3, NEW)):
            ask(process, "alice", f"{RULES} of falcon-17: {word} {RULES}", turns)
            eventually(lambda turns=turns: len(numbers_of(process, "alice")) == turns // 2 + 1, what="the turn's end")
        told = open_stream(process, max(numbers_of(process, "alice")), OPERATOR)
    assert NEW in texts(told)[1]
    assert "falcon-17" not in json.dumps(told)


@needs_feature("steps")
def test_a_step_that_may_hide_a_part_later_keeps_the_text_out(mock):
    port = free_port()
    steps = [{"use": "regex", "action": "refuse", "at": ["during"], "with": {"patterns": {"project": "falcon-[0-9]+"}}}]
    with gateway_thread(settings(mock, port, steps=steps), port) as process:
        told = open_stream(process, break_prefix(process, "alice", "checked later"), OPERATOR)
    assert told["texts"] is True
    assert "difference" not in told


TOLD = "document.getElementById('difference').innerText"


@pytest.mark.soak
@needs_chromium
def test_the_page_shows_old_and_new_texts_side_by_side(gateway, mock):
    number = break_prefix(gateway, "alice", "in a browser")
    assert number
    with browsing() as page:
        page.open(f"{gateway.url}/ui", {"authorization": f"Bearer {OPERATOR}"})
        page.until("document.querySelectorAll('#recent tbody tr').length")
        page.click("#recent tbody tr button")
        text = page.until(f"document.querySelectorAll('#difference-texts figure').length === 2 && {TOLD}")
        assert "system[0], as the gateway sent it" in text
        assert page.value("[...document.querySelectorAll('#difference mark')].map(one => one.innerText)") == [OLD, NEW]
        assert page.complaints == []
        page.press("Escape")
        assert page.value("document.getElementById('difference-texts').textContent") == ""
        port = free_port()
        with gateway_thread(settings(mock, port, prompt_cache={}), port) as process:
            break_prefix(process, "alice", "in a browser without texts")
            page.open(f"{process.url}/ui", {"authorization": f"Bearer {OPERATOR}"})
            page.until("document.querySelectorAll('#recent tbody tr').length")
            page.click("#recent tbody tr button")
            assert "prompt_cache: {texts: 16MiB}" in page.until(f"/keeps no texts/.test({TOLD}) && {TOLD}")
