"""Kept failures: the rights of viewers, replays, bounds and several workers."""

import hashlib
import json
import pty
import re
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gateway.features.failures.kept import (
    BYTES,
    EACH,
    FAILURES,
    HELD,
    LINES,
    STREAMED,
    FailureTexts,
    KeptExchange,
    KeptExchanges,
)
from gateway.features.failures.kept import WORDS as SHOWN
from gateway.ledger.ledger import Ledger
from gateway.log_output.terminal import Printer
from gateway.logs.loggers import EXCHANGES
from gateway.request.client_request import ClientRequest
from gateway.seams.observers import observation_of
from providers.errors.reasons import SHOWN_AT_DEBUG, log_message
from streams.events import ErrorInfo
from tests.support.command_line import COMMAND, environment
from tests.support.command_line import invoke as trigate
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import (
    START_SECONDS,
    Gateway,
    Listening,
    Reply,
    Wire,
    config,
    eventually,
    free_port,
    post,
    provider,
    running,
)
from tests.support.processes import peers, workers
from tests.support.step_gateway import bearer, client_keys, key_of, step_gateway
from tests.support.upstreams import JSON, Raw, Script, render
from tests.support.wire_clients import ALL, body_of, path_of, text_of

WORDS = "the model is tired of 'my prompt', says key-of-ann-0123456789 to sk-of-the-provider"
ERROR = Raw(400, JSON, (json.dumps({"error": {"message": WORDS, "type": "invalid_request_error"}}).encode(),))
CLIENTS = [
    *client_keys(["ann", "bob"]),
    *client_keys(["root"], role="admin", models=["m"]),
    *client_keys(["eve"], role="auditor", models=[]),
    {"name": "dave", "sha256": hashlib.sha256(key_of("dave").encode()).hexdigest()},
]


@serve_module
def gateway(upstream):
    more = {"key": "sk-of-the-provider", "price": {"input": 1, "output": 2}}
    entry = provider("openai/up", upstream.url, ["chat"], name="m", **more)
    return config([entry], client_keys=CLIENTS, audit="stderr")


def fail(gateway: Gateway, upstream: Any, api: str = "chat", stream: bool = False, client: str = "ann") -> str:
    """Return the id of a request of ``client`` that the provider refuses."""
    upstream.script(ERROR)
    sent = body_of(api, "m", "key-of-ann-0123456789 sent this", stream=stream)
    reply = gateway.request("POST", path_of(api, "m", stream=stream), sent, bearer(client))
    assert reply.status == 400, reply.body
    return reply.headers["x-request-id"]


def story(gateway: Gateway, id: str, client: str | None = "ann", more: str = "") -> Reply:
    return gateway.request("GET", f"/ui/request?id={id}{more}", headers=bearer(client) if client else {})


def command(gateway: Gateway, *args: str, client: str = "ann", **env: str) -> Any:
    to = {"TRIGATE_API_KEY": key_of(client), "XDG_STATE_HOME": "/dev/null", **env}
    return trigate(*args, "--to", gateway.url, env=to)


@each_row(("api", "stream"), product(ALL, (True, False)))
def test_failures_of_each_api_are_kept_and_can_be_sent_again(gateway, upstream, api, stream):
    id = fail(gateway, upstream, api, stream)
    sent = upstream.seen[0]
    told = command(gateway, "log", id)
    assert told.returncode == 0, told.stderr
    assert "said        openai, status 400: " in told.stdout
    assert f"again       trigate replay {id}" in told.stdout
    assert "tired of 'my prompt', says [redacted] to [redacted]" in told.stdout

    upstream.script(Script(text="Sunny."))
    again = command(gateway, "replay", id, client="ann")
    assert again.returncode == 0, again.stderr
    if api != "converse" or not stream:  # whose frames are no text
        assert text_of(api, again.stdout.encode(), stream=stream) == "Sunny."
    assert upstream.seen[0].body == sent.body.replace(b"key-of-ann-0123456789", b"[redacted]")
    assert f"Sending it to {gateway.url} again with the key in TRIGATE_API_KEY. This costs as any" in again.stderr


@each_row("api", ALL)
def test_a_stream_that_fails_again_is_a_failure_of_the_command(gateway, upstream, api):
    id = fail(gateway, upstream, api, stream=True)
    word = b'data: {"choices": [{"index": 0, "delta": {"content": "Sunny"}}]}\n\n'
    upstream.script(Raw(200, (("content-type", "text/event-stream"),), (word,), "cut"))
    again = command(gateway, "replay", id)
    assert (again.returncode, "200 http" in again.stderr) == (1, True), again.stderr


def test_a_request_is_shown_only_to_its_owner_and_admins(gateway, upstream):
    id = fail(gateway, upstream)
    other, unknown = story(gateway, id, "bob"), story(gateway, "nothing", "bob")
    assert (other.status, other.body) == (unknown.status, unknown.body) == (404, unknown.body)
    assert story(gateway, id, None).status == 401
    for client in ("ann", "root"):
        failure = story(gateway, id, client, "&request=1").json["failure"]
        assert "[redacted] sent this" in failure["request"]
        assert "key-of" not in json.dumps(failure)
    assert story(gateway, id).json["failure"]["request"] is None
    assert story(gateway, id, "eve").json["failure"] is None
    opened = [json.loads(line) for line in gateway.log if '"failure_opened"' in line]
    assert [(line["client"], line["owner"]) for line in opened if line["request"] == id] == [
        ("ann", "ann"), ("root", "ann"), ("ann", "ann"),
    ]  # fmt: skip

    upstream.script(Script(text="Mine."))
    assert command(gateway, "replay", id, client="root").returncode == 0
    own = ('"exchange"', '"client":"root"')
    eventually(lambda: any(all(part in line for part in own) for line in gateway.log), what="a request of the admin")
    refused = command(gateway, "replay", id, client="bob")
    assert (refused.returncode, len(upstream.seen)) == (2, 1)
    assert f"Found no request {id}. The response has its id in x-request-id." in refused.stderr


def test_a_successful_request_can_be_explained_but_is_not_kept(gateway, upstream):
    upstream.script(Script(text="Sunny."))
    reply = gateway.request("POST", "/v1/chat/completions", body_of("chat", "m", stream=False), bearer("ann"))
    id = reply.headers["x-request-id"]
    told = command(gateway, "log", id)
    rows = dict(line.strip().split(maxsplit=1) for line in told.stdout.splitlines()[1:])
    assert rows["result"] == "status 200, stop"
    assert rows["cost"].startswith("$0.0")
    shown = json.loads(command(gateway, "log", id, "--json").stdout)
    assert (shown["line"]["request_id"], shown["failure"]) == (id, None)
    refused = command(gateway, "replay", id)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"The request {id} is not kept: the gateway keeps only failed ones" in refused.stderr


@pytest.mark.process
def test_a_replayed_answer_does_not_control_the_terminal(gateway, upstream):
    id = fail(gateway, upstream)
    answer = b"".join(render(Script(text="a\x9b31m\u202eb"), "chat", {"model": "m"}).pieces)
    upstream.script(Raw(200, JSON, (json.dumps(json.loads(answer), ensure_ascii=False).encode(),)))
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen, open(theirs, "wb", buffering=0) as terminal:
        run = [*COMMAND, "replay", id, "--to", gateway.url]
        env = environment({"TRIGATE_API_KEY": key_of("ann"), "XDG_STATE_HOME": "/dev/null"})
        assert subprocess.run(run, stdout=terminal, stderr=subprocess.DEVNULL, env=env, check=False).returncode == 0
        shown = screen.read(1000)
    assert b"a\\u009b31m\\u202eb" in shown
    assert shown.decode().replace("\r\n", "").isprintable()


def test_the_line_has_no_key_that_the_log_masks(gateway):
    """For example, a client sends a key in place of a model. The gateway may know only the digest of the key."""
    for model in (key_of("bob"), "sk-proj-Ab12_Cd34-Ef56Gh78", key_of("dave")):
        reply = gateway.request("POST", "/v1/chat/completions", body_of("chat", model, stream=False), bearer("ann"))
        found = story(gateway, reply.headers["x-request-id"], "root").json
        assert model not in json.dumps(found["line"]), model
        assert "[redacted]" in found["line"]["model"]


@needs_feature("other_endpoints")
def test_a_failure_of_another_endpoint_is_shown_but_cannot_be_sent_again(gateway, upstream):
    upstream.script(ERROR)
    reply = gateway.request("POST", "/v1/embeddings", {"model": "m", "input": "x"}, bearer("ann"))
    told = command(gateway, "log", reply.headers["x-request-id"])
    assert "the request is not kept: it requests no answer of a model" in told.stdout


@each_row("size", [SHOWN - 60, SHOWN - 20])
def test_a_providers_long_words_are_cut_without_a_part_of_a_key(gateway, upstream, size):
    words = "x" * size + "sk-of-the-provider" + "y" * 2 * SHOWN
    upstream.script(Raw(400, JSON, (json.dumps({"error": {"message": words}}).encode(),)))
    sent = body_of("chat", "m", stream=False)
    reply = gateway.request("POST", "/v1/chat/completions", sent, bearer("ann"))
    found = story(gateway, reply.headers["x-request-id"])
    assert b"sk-of" not in found.body
    failure = found.json["failure"]
    assert len(failure["message"]) == len(failure["errors"][0]["body"]) == SHOWN


@needs_feature("steps")
def test_a_step_that_cannot_check_a_providers_words_hides_them(tmp_path, upstream):
    step = {"use": "./steps.py:broken", "action": "mask", "at": ["response"]}
    entry = provider("openai/up", upstream.url, ["chat"], name="m")
    code = "def broken(check):\n    raise ValueError\n"
    with step_gateway(tmp_path, [entry], code, client_keys=CLIENTS, steps=[step]) as served:
        found = story(served, fail(served, upstream), "ann")
        assert found.json["line"]["steps"][0]["outcome"] == "unchecked"
        assert b"the model is tired" not in found.body


@needs_feature("steps")
@each_row(("size", "is_kept"), [(100, True), (2 * STREAMED, False)])
def test_a_running_stream_holds_no_large_request_that_a_step_may_hide(tmp_path, upstream, size, is_kept):
    step = {"use": "regex", "action": "refuse", "at": ["during"], "with": {"patterns": {"word": "falcon-[0-9]+"}}}
    entry = provider("openai/up", upstream.url, ["chat"], name="m")
    with step_gateway(tmp_path, [entry], client_keys=CLIENTS, steps=[step]) as served:
        sent = body_of("chat", "m", "x" * size, stream=True)
        pieces = render(Script(text="Sunny today."), "chat", sent).pieces[:3]
        upstream.script(Raw(200, (("content-type", "text/event-stream"),), pieces, "cut"))
        reply = served.request("POST", "/v1/chat/completions", sent, bearer("ann"))
        ended = reply.headers["x-request-id"], "ann", "&request=1"
        eventually(lambda: story(served, *ended).status == 200, what="the end of the exchange")
        failure = story(served, *ended).json["failure"]
        assert (failure["request"] is not None) is is_kept


@needs_feature("steps")
@each_row("action", ["mask", "refuse"])
def test_a_failure_has_only_text_that_steps_do_not_hide(tmp_path, upstream, action):
    step = {"use": "regex", "action": action, "with": {"patterns": {"word": "falcon-[0-9]+"}}}
    entry = provider("openai/up", upstream.url, ["chat"], name="m")
    with step_gateway(tmp_path, [entry], client_keys=CLIENTS, steps=[step]) as served:
        upstream.script(ERROR)
        sent = body_of("chat", "m", "a falcon-77", stream=False)
        reply = served.request("POST", "/v1/chat/completions", sent, bearer("ann"))
        found = story(served, reply.headers["x-request-id"], "ann", "&request=1")
        assert found.json["line"]["status"] == reply.status >= 400
        assert b"falcon-77" not in found.body


def test_without_the_setting_no_failure_is_kept(upstream):
    entry = provider("openai/up", upstream.url, ["chat"], name="m")
    with gateway_thread(config([entry], keep_failures=False, client_keys=CLIENTS)) as served:
        id = fail(served, upstream)
        assert story(served, id).status == 404
        told = command(served, "log", id)
        assert told.returncode == 1
        assert "it keeps no failures (`keep_failures`)" in told.stderr


def kept_exchange(client: str, number: int, size: int | None) -> KeptExchange:
    body = bytes(size or 0)
    texts = None if size is None else FailureTexts(None, (), body, "", (), None, False, ())
    return KeptExchange(client, "chat", {"request_id": f"{client}{number}"}, texts)


@each_row("size", [None, 10, BYTES // 10])
def test_a_client_with_many_requests_takes_no_room_of_others(size):
    kept, most = KeptExchanges(), {None: LINES, 10: FAILURES}.get(size, 10)
    kept.add(kept_exchange("bob", 0, size))
    for number in range(3 * most):
        kept.add(kept_exchange("ann", number, size))
    assert kept.find("bob0", None) is not None
    left = [number for number in range(3 * most) if kept.find(f"ann{number}", "ann")]
    assert left == [*range(2 * most + 1, 3 * most)]


@needs_feature("steps")
@each_row("at", [(), ("request",), ("request", "response")])
def test_each_provider_message_belongs_to_its_attempt(tmp_path, at):
    """Two attempts may run at the same time, and after steps, observers get the messages only at the end."""
    steps = [{"use": "regex", "action": "mask", "at": [*at], "with": {"patterns": {"word": "falcon"}}}] if at else []
    with Listening() as first, Listening() as second:
        entries = [
            provider(f"{one}/{one}", peer.url, ["chat"], name=one)
            for one, peer in (("openai", first), ("mistral", second))
        ]
        route = {
            "targets": ["openai", "mistral"], "hedge": {"after": "50ms", "at_most": "100%"}, "retries": {"attempts": 2},
        }  # fmt: skip
        more = {"client_keys": CLIENTS, "steps": steps, "model_aliases": {"m": route}}
        with step_gateway(tmp_path, entries, **more) as served, Wire.connect(served.port) as client:
            client.send(post("/v1/chat/completions", body_of("chat", "m", stream=False), bearer("ann")))
            with first.accept() as one, second.accept() as two:
                one.read_request()
                two.read_request()
                words = [json.dumps({"error": {"message": f"tired {n}", "type": "server_error"}}) for n in (1, 2)]
                heads = [
                    f"HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
                    for status, text in zip((500, 503), words, strict=True)
                ]
                for peer, part in ((one, heads[0]), (two, heads[1]), (two, words[1]), (one, words[0])):
                    peer.send(part.encode())
                head = client.read_until(b"\r\n\r\n").decode()
            id = re.findall(r"x-request-id: (\S+)", head, re.IGNORECASE)[0]
            said = eventually(lambda: story(served, id).json["failure"]["errors"], what="the end of the exchange")
    assert sorted((one["provider"], one["status"], one["body"]) for one in said) == [
        ("mistral", 503, words[1]), ("openai", 500, words[0]),
    ]  # fmt: skip


@each_row(("observe", "is_hidden", "hint"), [
    (True, False, "(trigate log 'a;b' shows its message) [a;b]"), (True, True, f"({SHOWN_AT_DEBUG}) [a;b]"),
    (False, False, f"({SHOWN_AT_DEBUG}) [a;b]"),
])  # fmt: skip
def test_the_log_in_a_terminal_has_the_command_that_shows_a_kept_message(caplog, observe, is_hidden, hint):
    caplog.set_level("INFO", EXCHANGES)
    ledger = Ledger(Printer().exchange)
    observation_of(ledger).hooks += (KeptExchanges().observe,) if observe else ()
    record = ledger.open("a;b", "chat")
    record.error = ErrorInfo("invalid_request", "no 'prompt'", status=400, log_message=log_message(400, {}))
    if is_hidden:
        record.observers.note_hidden()
    caplog.clear()
    ledger.settle(record, disconnected=False)
    assert caplog.messages[-1].endswith(f"the provider sent status 400 {hint}")


def test_a_client_with_many_running_requests_takes_no_room_of_others():
    kept, ledger = KeptExchanges(), Ledger()
    observation_of(ledger).hooks += (kept.observe,)
    sent = ClientRequest((), "", None)

    def begin(client: str, number: int, size: int) -> Any:
        record = ledger.open(f"{client}{number}", "chat")
        record.client, record.shut_down = client, True
        record.observers.note_request(sent, bytes(size), is_turn=True)
        return record

    most = HELD // EACH
    running = [begin("bob", 0, EACH), *(begin("ann", n, EACH) for n in range(most + 3)), begin("bob", 1, EACH)]
    had = []
    for record in (running[0], running[-1], running[5], running[6]):
        ledger.settle(record, disconnected=True)
        found = kept.find(record.id, record.client)
        had.append(found.texts.request is not None)
    assert had == [True, True, False, True]


@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc")
def test_each_worker_shows_the_failures_of_all_workers(upstream):
    port, held = free_port(), dict[int, tuple[Wire, str]]()
    settings = config([provider("openai/up", upstream.url, ["chat"], name="m")], port, client_keys=CLIENTS)
    with running(settings, port, "--workers", "2") as served:

        def connect() -> bool:
            wire = Wire.connect(port)
            mine = wire.sock.getsockname()[1]
            pid = eventually(lambda: next((pid for pid in workers(served.pid) if mine in peers(pid, port)), None))
            if pid in held:
                wire.sock.close()
            else:
                upstream.script(ERROR)
                wire.send(post("/v1/chat/completions", body_of("chat", "m", stream=False), bearer("ann")))
                head = wire.read_until(b"\r\n\r\n").decode()
                held[pid] = wire, re.findall(r"x-request-id: (\S+)", head, re.IGNORECASE)[0]
            return len(held) == 2

        eventually(connect, START_SECONDS, "a failure in each worker")
        for wire, _ in held.values():
            wire.sock.close()
        for _, id in held.values():
            for _ in range(6):
                assert story(served, id).json["failure"]["errors"][0]["status"] == 400
                assert story(served, id, "bob").status == 404


LINE = {
    "event": "exchange", "at": "2026-11-21T08:56:23Z", "request_id": "req_1", "client": "ann", "api": "messages",
    "model": "sonnet", "target": "anthropic/s", "provider_api": "messages", "lane": "byte", "stream": True,
    "status": 200, "ended": "complete", "reason": "end_turn", "first_byte_ms": 640.0, "duration_ms": 2314.2,
    "input_tokens": 51200, "cached_tokens": 1920, "output_tokens": 212, "cost_usd": 0.054399, "cost_grade": "exact",
    "prompt_cache_could": 51200, "prompt_cache_missed": 49280, "prompt_cache_cause": "system", "attempts": 2,
    "prompt_cache_at": "system[0]:0-64 (time)", "prompt_cache_usd": 0.17, "waited_ms": 1200.0, "dropped": "top_k",
    "tried": [
        {"target": "plan/s", "cause": "first", "reason": "quota", "status": 429, "head_ms": 80.0, "duration_ms": 90.0},
        {"target": "anthropic/s", "cause": "fallback", "reason": "ok", "status": 200, "duration_ms": 1010.0},
    ],
}  # fmt: skip
TOLD = """\
req_1
  request     sonnet of ann (messages, streamed)
  target      anthropic/s (messages, byte lane)
  result      status 200, end_turn
  attempts    1. first: plan/s, quota, status 429, headers after 80 ms, end after 90 ms
              2. fallback: anthropic/s, ok, status 200, end after 1.01 s
  waits       1.20 s between attempts or for a target
  first byte  after 640 ms
  tokens      51,200 in (1,920 cached), 212 out
  cost        $0.054399 (exact)
  cache       prompt cache: 49,280 of 51,200 tokens missed, 0.1700 usd: system[0] changed at 0-64 (a time)
  dropped     top_k
"""


def test_a_request_in_a_log_file_can_be_explained(tmp_path):
    log = tmp_path / "log"
    other = {**LINE, "request_id": "req_2", "model": "req_1"}
    log.write_text("not JSON\n" + "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in (LINE, other)))
    told = trigate("log", "req_1", "--log", str(log))
    assert told.returncode == 0
    assert [line for line in told.stdout.splitlines(keepends=True) if "  ended  " not in line] == TOLD.splitlines(True)
    other = {"event": "exchange", "request_id": "req_4"}, {**LINE, "request_id": "req_5", "at": "now", "tried": [1]}
    log.write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in other))
    for one in other:
        odd = trigate("log", one["request_id"], "--log", str(log))
        assert (odd.returncode, odd.stdout) == (1, "")
        assert f"The line of {one['request_id']} has another form" in odd.stderr
        assert trigate("log", one["request_id"], "--log", str(log), "--json").returncode == 0
    unknown = trigate("log", "req_3", "--log", str(log))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert f"Found no request req_3. The response has its id in x-request-id.\n- {log}: no line with" in unknown.stderr
    empty = trigate("log", "", "--log", str(log))
    assert (empty.returncode, empty.stdout) == (2, "")
    assert "REQUEST_ID is empty: give the id in x-request-id of the response" in empty.stderr
    assert "REQUEST_ID is empty: give the id in x-request-id of the response, or a FILE" in trigate("replay", "").stderr
