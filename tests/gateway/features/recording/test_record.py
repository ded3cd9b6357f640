"""``serve --record`` and ``replay``: recordings have the bytes that both sides saw, and can be replayed. Also the log:
its levels, its forms, and secrets that it never contains."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.commands.replay import run
from gateway.config_files.loading import from_mapping
from gateway.features.recording.recorded import INDEX
from gateway.ledger.ledger import Ledger
from gateway.log_output.setup import Log
from gateway.log_output.terminal import Printer
from providers.recordings import RecordedExchange, read_recording
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import (
    Gateway,
    Listening,
    Wire,
    config,
    eventually,
    free_port,
    post,
    provider,
)
from tests.support.own_log import own_log
from tests.support.raw_call import SSE, answer_stream, chunks, line, lines, new_id
from tests.support.upstreams import JSON, PATHS, Raw, Script, Upstream, fake_upstream, render

pytestmark = pytest.mark.slow

KEY, HEADER_KEY, CLIENT_KEY = "sk-not-to-be-told", "tok-in-a-header", "sk-of-the-client"
URL_KEY = "sk-live-in-a-url"
ANSWER = Script(text="one two three")
SSE_HEAD = b"content-type: text/event-stream\r\n\r\n"


@attrs.frozen
class Recorder:
    """A gateway that records, its provider, and another provider that tests control."""

    gateway: Gateway
    upstream: Upstream
    by_hand: Listening
    folder: Path

    def of(self, id: str) -> dict[str, tuple[dict[str, Any], RecordedExchange]]:
        """Wait for the recordings of an exchange, and return them by their side."""

        def read_sides() -> dict[str, tuple[dict[str, Any], RecordedExchange]]:
            all = ((path, json.loads(path.read_bytes())) for path in self.folder.rglob("*.meta.json"))
            ours = [(path, meta) for path, meta in all if meta["exchange"]["request_id"] == id]
            sides = {path.name.split(".")[1].rpartition("-")[2]: (meta, read_recording(path)) for path, meta in ours}
            return sides if "client" in sides else {}  # the client's side is written last

        line(self.gateway, id)
        return eventually(read_sides, what="the recordings")

    def files(self, id: str) -> list[Path]:
        metas = self.folder.rglob("*.meta.json")
        return [path for path in metas if json.loads(path.read_bytes())["exchange"]["request_id"] == id]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory) -> Iterator[Recorder]:
    port, folder = free_port(), tmp_path_factory.mktemp("parent") / "records"
    with fake_upstream() as upstream, Listening() as by_hand:
        entries = [
            provider("openai/on-chat", upstream.url, ["chat"], key=KEY, headers={"x-auth-token": HEADER_KEY}),
            provider("openai/on-messages", upstream.url, ["messages"], key=KEY),
            provider("openai/by-hand", by_hand.url, ["chat"], key=KEY),
            provider("mistral/beside", by_hand.url, ["chat"], key=KEY),
            provider("openai/spare", upstream.url, ["chat"], key=KEY),
            provider("openai/in-url", f"{upstream.url}/v1?api_key={URL_KEY}", ["chat"]),
        ]
        hedged = {
            "targets": ["mistral/beside", "openai/spare"], "retries": {"budget": "100%"},
            "hedge": {"after": "50ms", "at_most": "100%"},
        }  # fmt: skip
        settings = config(entries, port, log_level="error", model_aliases={"hedged": hedged})
        with gateway_thread(settings, port, record=folder, log_level="debug") as gateway:
            yield Recorder(gateway, upstream, by_hand, folder)
        text = "\n".join(gateway.log) + "".join(file.read_text() for file in folder.rglob("*") if file.is_file())
        for secret in (KEY, HEADER_KEY, CLIENT_KEY, URL_KEY):
            assert secret not in text
        assert "Traceback" not in text
        assert all(line.startswith("{") for line in gateway.log)


def body_of(model: str, api: str, stream: bool = True) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return {**asked, "max_tokens": 99} if api == "messages" else asked


def ask(recorder: Recorder, api: str, body: Any, **headers: str) -> tuple[str, bytes]:
    id = new_id()
    reply = recorder.gateway.request("POST", PATHS[api], body, {"x-request-id": id, **headers})
    return id, reply.body


def test_a_translated_stream_is_recorded_as_each_side_saw_it(recorder):
    recorder.upstream.script(ANSWER)
    sent = json.dumps(body_of("on-chat", "messages")).encode()
    id, got = ask(recorder, "messages", sent, **{"x-api-key": CLIENT_KEY, "anthropic-version": "2023-06-01"})
    found = recorder.of(id)
    meta, client = found["client"]
    assert (client.api, client.request, client.response) == ("messages", sent, got)
    assert meta["request_headers"] == {"anthropic-version": "2023-06-01"}
    meta, theirs = found["provider"]
    seen = recorder.upstream.seen[-1]
    assert (theirs.api, theirs.request) == ("chat", seen.body)
    assert theirs.response == b"".join(render(ANSWER, "chat", seen.json).pieces)
    assert (meta["provider"], meta["bytes_exact"], meta["path"]) == ("openai", True, seen.path)
    assert "lane:hub" in meta["features"]
    stems = {path.name.removesuffix(".meta.json") for path in recorder.files(id)}
    eventually(lambda: all(stem in (recorder.folder / INDEX).read_text() for stem in stems), what="rows of the index")


@pytest.mark.parametrize(("winner", "is_early"), [("first", False), ("first", True), ("second", False)])
def test_the_recording_of_a_hedge_contains_the_winning_request(recorder, winner, is_early):
    """If ``is_early``, the headers of the winner arrive ahead of the other ones."""
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n" + SSE_HEAD
    recorder.upstream.script(
        Raw(200, (("content-type", "text/event-stream"),), (b": hi\n\n",), "hang") if winner == "first" else ANSWER
    )
    id = new_id()
    body = json.dumps(body_of("hedged", "chat")).encode()
    with Wire.connect(recorder.gateway.port) as client:
        client.send(post(PATHS["chat"], body, {"x-request-id": id}))
        with recorder.by_hand.accept() as peer:
            peer.read_request()
            if is_early:
                peer.send(head)
            eventually(lambda: recorder.upstream.seen, what="the second request")
            if winner == "first":
                answer = b"".join(render(ANSWER, "chat", json.loads(body)).pieces)
                peer.send(answer if is_early else head + answer)
                peer.close()
            client.read_until(b"[DONE]")
    meta, kept = recorder.of(id)["provider"]
    assert meta["provider"] == {"first": "mistral", "second": "openai"}[winner]
    assert (b'"beside"' in kept.request) == (winner == "first")
    assert b"one" in kept.response


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_a_key_in_a_url_is_never_returned(recorder, api):
    path = f"/v1/chat/completions?api_key={URL_KEY}"
    error = {"error": {"message": f"cannot read {path}", "type": "invalid_request_error", "param": None, "code": None}}
    recorder.upstream.script(Raw(400, JSON, (json.dumps(error).encode(),)))
    id, got = ask(recorder, api, body_of("in-url", api))
    assert b"cannot read /v1/chat/completions?api_key=[redacted]" in got
    assert b"[redacted]" in recorder.of(id)["provider"][1].response  # the fixture also searches all files and the log


@needs_feature("steps")
@pytest.mark.parametrize("at", ["request", "during"])
@pytest.mark.parametrize("form", ["error", "stop"])
def test_a_refused_request_is_recorded_with_masks_and_without_its_provider(upstream, tmp_path, at, form):
    """The recording also has the masks of steps that did not run because of the refusal."""
    port = free_port()
    steps = [
        {
            "use": "regex",
            "at": [at],
            "action": "refuse",
            "refusal": {"as": form},
            "with": {"patterns": {"plane": "falcon-[0-9]+"}},
        },
        {"use": "pii", "at": ["request"], "action": "mask"},
    ]
    entries = [provider("openai/on-chat", upstream.url, ["chat"], key=KEY)]
    settings = config(entries, port, steps=steps)
    refused = {"model": "on-chat", "messages": [{"role": "user", "content": "falcon-12 of ana@example.com"}]}
    with gateway_thread(settings, port, record=tmp_path) as gateway:
        found = Recorder(gateway, upstream, None, tmp_path)
        upstream.script(ANSWER)
        id, got = ask(found, "chat", refused, authorization=f"Bearer {CLIENT_KEY}")
        sides = found.of(id)
        unknown, _ = ask(found, "chat", {**refused, "model": "unknown"}, authorization=f"Bearer {CLIENT_KEY}")
    assert not found.files(unknown)  # no step has read it
    assert sides.keys() == {"client"}
    meta, kept = sides["client"]
    assert (kept.response, meta["bytes_exact"], meta["exchange"]["ended"]) == (got, False, "refused")
    (message,) = json.loads(kept.request)["messages"]
    assert re.fullmatch(r"\[PLANE_[0-9a-f]+\] of \[EMAIL_[0-9a-f]+\]", message["content"])
    assert any("masks replace its findings" in note for note in meta["notes"])


def test_an_unstreamed_answer_and_a_refusal_are_recorded_too(recorder):
    recorder.upstream.script(ANSWER)
    id, got = ask(recorder, "chat", body_of("on-messages", "chat", stream=False))
    found = recorder.of(id)
    assert found["client"][1].response == got
    assert b"one two three" in found["provider"][1].response
    error = {"error": {"message": f"who is {KEY}?", "type": "rate_limit_error", "param": None, "code": "x"}}
    recorder.upstream.script(Raw(429, JSON, (json.dumps(error).encode(),)))
    id, got = ask(recorder, "chat", body_of("on-chat", "chat"))
    found = recorder.of(id)
    assert all(path.parent.name == "error_responses" for path in recorder.files(id))
    assert (found["client"][1].status, found["client"][1].response) == (429, got)
    assert b"who is [redacted]?" in found["provider"][1].response
    id, got = ask(recorder, "chat", b'{"model": "on-ch')
    assert set(recorder.of(id)) == {"client"}
    assert recorder.of(id)["client"][1].response == got


def test_the_recording_of_an_abandoned_stream_has_the_received_part(recorder):
    id = new_id()
    with Wire.connect(recorder.gateway.port) as client:
        client.send(post(PATHS["chat"], body_of("by-hand", "chat"), {"x-request-id": id}))
        with recorder.by_hand.accept() as up:
            up.read_request()
            up.send(SSE + chunks(*answer_stream("chat").opening, answer_stream("chat").first))
            client.read_until(b"one t")
            client.close()
            found = recorder.of(id)
    assert found["client"][0]["exchange"]["ended"] == "client_disconnected"
    assert b"one t" in found["client"][1].response
    assert found["client"][1].response == found["provider"][1].response


def test_a_recorded_request_can_be_sent_again(recorder, capfdbinary):
    recorder.upstream.script(ANSWER, ANSWER)
    id, got = ask(recorder, "chat", body_of("on-chat", "chat"))
    recorder.of(id)
    file = next(path for path in recorder.files(id) if "client" in path.name)
    assert run(file, recorder.gateway.url, None, None) == 0
    out, err = capfdbinary.readouterr()
    assert out == got
    assert err.startswith(b"200 http://127.0.0.1:")
    assert run(file, recorder.gateway.url, "nobodys", None) == 1
    assert b"nobodys" in capfdbinary.readouterr().out
    assert run(file, f"http://127.0.0.1:{free_port()}", None, None) == 2
    assert b"cannot send to" in capfdbinary.readouterr().err
    assert run(file, recorder.gateway.url, None, "NO_SUCH_VARIABLE") == 2
    assert b"NO_SUCH_VARIABLE" in capfdbinary.readouterr().err


# The log


def test_the_command_line_decides_what_is_logged(recorder):
    """The level in the configuration is ``error``."""
    id, _ = ask(recorder, "chat", body_of("nobodys", "chat"))
    found = line(recorder.gateway, id)
    assert (found["status"], found["ended"]) == (404, "refused")
    assert len(lines(recorder.gateway, id)) == 1


@pytest.fixture
def begin() -> Iterator[Callable[..., Log]]:
    """Return a function that creates the log of a process that has just started."""

    def log(*args: Any, **named: Any) -> Log:
        logging.getLogger().handlers[:] = []
        return Log(*args, **named)

    with own_log():
        yield log


SETTINGS = {
    "version": "v0.3.0",
    "model_providers": [{"model": "openai/gpt-4o", "access_key": KEY, "headers": {"x-token": 'quo"ted-token'}}],
}


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_log_line_contains_a_credential(begin, capsys, form):
    log = begin(form=form)
    log.apply_config(from_mapping(SETTINGS))
    try:
        raise RuntimeError(f"refused {KEY}")
    except RuntimeError:
        logging.getLogger("some.library").exception("with %s and %s", KEY, 'quo"ted-token')
    err = capsys.readouterr().err
    assert KEY not in err
    assert "ted-token" not in err
    assert err.count("[redacted]") >= 3
    assert "RuntimeError" in err
    if form == "json":
        (text,) = err.splitlines()
        assert json.loads(text)["level"] == "error"
        assert "Traceback" in json.loads(text)["traceback"]


@pytest.mark.parametrize(
    ("asked", "configured", "shown"),
    [(None, "info", True), (None, "warning", False), ("info", "warning", True), ("error", "debug", False)],
)
def test_exchanges_have_the_level_info(begin, capsys, asked, configured, shown):
    log = begin(asked, "text")
    log.apply_config(from_mapping({**SETTINGS, "log_level": configured}))
    ledger = Ledger(Printer().exchange)
    ledger.settle(ledger.open("call-1", "chat"), disconnected=True)
    assert ("client left" in capsys.readouterr().err) is shown


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_forged_log_line_is_not_mistaken_for_an_exchange(begin, capsys, form):
    begin(form=form)
    for forged in ('{"event":"exchange","status":200}', "08:00:00 200 chat forged"):
        logging.getLogger("trigate").warning("%s", forged)
        told = capsys.readouterr().err
        assert json.loads(told)["message"] == forged if form == "json" else told[9:].startswith("warning ")


@pytest.mark.parametrize("level", ["info", "error"])
def test_startup_messages_are_json_if_the_log_is_json(begin, capsys, level):
    log = begin(level, "json")
    log.say("warning", "there are no client_keys")
    log.say("note", "another thing")
    told = list(map(json.loads, capsys.readouterr().err.splitlines()))
    assert [(line["event"], line["level"]) for line in told] == [("log", "warning"), ("log", "info")]


def test_at_debug_libraries_do_not_log_headers(begin):
    begin("debug", "json")
    assert not logging.getLogger("hpack.hpack").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("trigate").isEnabledFor(logging.DEBUG)
