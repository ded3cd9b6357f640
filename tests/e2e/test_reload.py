"""Tests of a reload of the configuration by SIGHUP."""

import contextlib
import http.client
import json
import os
import pty
import queue
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.apis import question
from tests.support.command_line import COMMAND, Started, environment, running_command
from tests.support.features import needs_feature
from tests.support.harness import (
    PATIENCE,
    START_SECONDS,
    STOP_SECONDS,
    Listening,
    Wire,
    eventually,
    exchanges,
    post,
    request,
)
from tests.support.processes import workers
from tests.support.raw_call import END, answer_stream, chunks, whole_answer
from tests.support.upstreams import PATHS, Raw, Script, Seen, Upstream, render, serve_upstream
from tests.support.warm_start import EXECUTED
from tests.support.websocket_client import Client
from tests.support.wire_clients import text_of

pytestmark = pytest.mark.process

REQUESTS = int(os.environ.get("TRIGATE_RELOAD_REQUESTS", "300"))
"""The number of requests in the test under load; 10000 take a minute or two."""

RELOADS = 10
CLIENTS = 12
KEYS = ("key-one", "key-two")
RELOADED = "the configuration was reloaded"
REFUSED = "the configuration was not reloaded; the previous one stays in use"

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc")


def version(number: int, upstream: int) -> dict[str, Any]:
    """Return a configuration that has ``number`` in everything that an answer can show: alias, model, address, header,
    key, and the client's name."""
    return {
        "version": "v0.3.0",
        "model_providers": [
            {
                "model": f"up/model-{number}",
                "base_url": f"http://127.0.0.1:{upstream}/{number}/v1",
                "access_key": f"key-{number}",
                "headers": {"x-version": str(number)},
                **({"speaks": ["messages"]} if number % 2 else {}),  # every second configuration needs a translation
            }
        ],
        "model_aliases": {"m": {"target": f"model-{number}"}},
        "client_keys": [{"name": f"client-{number}", "key": KEYS[0]}],
    }


def put(file: Path, content: Any) -> None:
    """Replace the file atomically: readers never see a part of it."""
    new = file.with_suffix(".new")
    new.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    new.replace(file)


def logged_messages(gateway: Started, what: str) -> list[str]:
    return [json.loads(line)["message"] for line in gateway.log if what in line]


def reload(gateway: Started, what: str = RELOADED) -> str:
    """Send SIGHUP, and return the next log message with ``what``."""
    before = len(logged_messages(gateway, what))
    gateway.process.send_signal(signal.SIGHUP)
    return eventually(lambda: logged_messages(gateway, what)[before:], START_SECONDS, f"a line {what!r}")[0]


# Under load


class Echo(Upstream):
    """A provider whose answers repeat the number of the configuration in each part of a request that shows it."""

    def answer(self, received: Seen) -> Raw:
        asked = received.json
        if asked["max_tokens"] % 10 == 0:
            time.sleep(0.05)  # longer than a reload takes
        key = (received.header("authorization") or "").removeprefix("Bearer ") or received.header("x-api-key") or ""
        versions = {
            "path": received.path.split("/")[1],
            "model": asked["model"].removeprefix("model-"),
            "header": received.header("x-version"),
            "key": key.removeprefix("key-"),
        }
        api = next(api for api, path in PATHS.items() if received.path.endswith(path))
        return render(Script(text=json.dumps(versions)), api, asked)


def send_requests(port: int, numbers: "queue.SimpleQueue[int | None]", answered: dict[int, dict[str, str]]) -> None:
    """Send a request for each number on one connection, and add the content of its answer to ``answered``."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        while number := numbers.get():
            body = question("chat", "m", max_tokens=number, stream=number % 3 == 0)
            named = {"authorization": f"Bearer {KEYS[0]}", "x-request-id": f"load-{number}"}
            connection.request("POST", PATHS["chat"], json.dumps(body), {"content-type": "application/json", **named})
            response = connection.getresponse()
            data = response.read()
            assert response.status == 200, data
            versions = json.loads(text_of("chat", data, stream=body["stream"]))
            target = response.getheader("x-trigate-target", "").removeprefix("up/model-")
            answered[number] = {**versions, "target": target}


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.soak), pytest.param(2, marks=linux)])
def test_a_reload_under_load_loses_no_request_and_mixes_no_configurations(tmp_path, count):
    file, answered = tmp_path / "trigate.yaml", dict[int, dict[str, str]]()
    numbers: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    shares = [range(REQUESTS + 1)[1:][i :: RELOADS + 1] for i in range(RELOADS + 1)]
    with contextlib.ExitStack() as stack:
        upstream = int(stack.enter_context(serve_upstream(Echo)).url.rpartition(":")[2])
        put(file, version(0, upstream))
        command = running_command("serve", "--port", "0", "--workers", str(count), cwd=tmp_path)
        gateway = stack.enter_context(command)
        wait_until_up(gateway, count)
        port = int(gateway.url.rpartition(":")[2])
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(send_requests, port, numbers, answered) for _ in range(CLIENTS)]
            try:
                for number, share in enumerate(shares):  # otherwise, fast clients would send all before most reloads
                    for one in share:
                        numbers.put(one)
                    if number:
                        eventually(lambda: len(answered) >= number * (REQUESTS // (RELOADS + 1)))  # noqa: B023
                        put(file, version(number, upstream))
                        reload(gateway)
            finally:
                for _ in range(CLIENTS):
                    numbers.put(None)
        for client in clients:
            client.result()
        assert gateway.stop() == 0
    assert len(answered) == REQUESTS
    for asked, answer in answered.items():
        assert len(set(answer.values())) == 1, f"request {asked} saw {answer}"
    # Requests after a reload may get the previous configuration from a late worker, or already the next one.
    assert len({answer["model"] for answer in answered.values()}) > RELOADS // 3
    lines = {line["request_id"]: line for line in exchanges(gateway.log)}
    assert len(lines) == REQUESTS
    for asked, answer in answered.items():
        assert lines[f"load-{asked}"]["client"] == f"client-{answer['model']}"


def wait_until_up(gateway: Started, count: int) -> None:
    """Wait until all workers respond, because the test later waits for a log line of each."""
    if count == 1:
        return
    eventually(lambda: len(workers(gateway.process.pid)) == count, START_SECONDS, "workers")
    eventually(lambda: all(handles_sighup(pid) for pid in workers(gateway.process.pid)), START_SECONDS, "handlers")


def handles_sighup(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGHUP - 1) & 1)


# Single changes


@pytest.fixture
def provider() -> Iterator[Listening]:
    with Listening() as listening:
        yield listening


@pytest.fixture
def file(tmp_path, provider) -> Path:
    put(tmp_path / "trigate.yaml", version(0, provider.port))
    return tmp_path / "trigate.yaml"


@pytest.fixture
def gateway(file) -> Iterator[Started]:
    with running_command("serve", "--port", "0", cwd=file.parent) as gateway:
        yield gateway


def models(gateway: Started, key: str = KEYS[0]) -> Any:
    reply = request(gateway.url, "GET", "/v1/models", headers={"x-api-key": key})
    return [model["id"] for model in reply.json["data"]] if reply.status == 200 else reply.status


@needs_feature("model_lists")
def test_the_log_lists_the_changes(gateway, file, provider):
    put(file, version(2, provider.port))
    line = reload(gateway)
    assert line == (
        f"{RELOADED}: - model up/model-0; + model up/model-2; ~ alias m: model-0 → model-2; "
        "- client key client-0; + client key client-2"
    )
    assert models(gateway) == ["up/model-2", "m"]


@needs_feature("model_lists")
def test_an_invalid_file_changes_nothing_and_the_log_has_the_reason(gateway, file, provider):
    put(file, {**version(2, provider.port), "drian": "5s"})
    line = reload(gateway, REFUSED)
    assert "trigate.yaml" in line
    assert "did you mean drain?" in line
    assert models(gateway) == ["up/model-0", "m"]
    put(file, "version: [")
    assert "not valid YAML" in reload(gateway, REFUSED)
    file.unlink()
    assert "trigate.yaml: cannot be read: no such file or directory" in reload(gateway, REFUSED)
    assert models(gateway) == ["up/model-0", "m"]
    put(file, version(2, provider.port))
    reload(gateway)
    assert models(gateway) == ["up/model-2", "m"]


@needs_feature("model_lists")
def test_a_reload_lists_keys_that_need_a_restart_and_applies_the_others(gateway, file, provider):
    changed = {
        **version(2, provider.port), "drain": "5s", "listeners": [{"type": "model", "port": 1}],
        "state_storage": {"type": "none"},
    }  # fmt: skip
    put(file, changed)
    line = reload(gateway)
    for key in ("drain", "listeners", "state_storage"):
        assert any(part.startswith(f"~ {key}") and "needs a restart" in part for part in line.split("; ")), line
    assert models(gateway) == ["up/model-2", "m"]
    assert "~ drain 25s → 5s (needs a restart)" in reload(gateway), "it is still not so"


def test_a_running_stream_keeps_the_configuration_of_its_start(gateway, file, provider):
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    with Wire.connect(int(gateway.url.rpartition(":")[2])) as client:
        client.send(post("/v1/chat/completions", body, {"x-api-key": KEYS[0]}))
        with provider.accept() as upstream:
            upstream.read_request()
            upstream.send(answer_stream("chat").half)
            client.read_until(b"one t")
            put(file, {**version(2, provider.port), "client_keys": [{"name": "other", "key": KEYS[1]}]})
            reload(gateway)
            assert models(gateway) == 401
            upstream.send(chunks(*answer_stream("chat").rest) + END)
            assert b"[DONE]" in client.read_until(b"[DONE]")
    line = eventually(
        lambda: [line for line in exchanges(gateway.log) if "target" in line], what="the exchange's line"
    )[0]
    assert (line["client"], line["target"], line["ended"]) == ("client-0", "up/model-0", "complete")


@needs_feature("model_lists")
def test_a_reload_applies_new_keys_limits_and_origins(gateway, file, provider):
    changed = {
        **version(2, provider.port), "client_keys": [{"name": "other", "key": KEYS[1]}], "cors": ["https://app.example"],
        "limits": {"request_body": 100}, "websocket": False,
    }  # fmt: skip
    put(file, changed)
    reload(gateway)
    assert models(gateway) == 401
    assert models(gateway, KEYS[1]) == ["up/model-2", "m"]
    named = {"x-api-key": KEYS[1], "origin": "https://app.example"}
    reply = request(gateway.url, "POST", "/v1/chat/completions", {"model": "m", "x": "y" * 100}, named)
    assert reply.status == 413
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
               "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
    assert request(gateway.url, "GET", "/v1/responses", headers={**named, **upgrade}).status == 426


@needs_feature("responses_websocket")
def test_a_websocket_completes_its_answer_before_it_is_closed(gateway, file, provider):
    port = int(gateway.url.rpartition(":")[2])
    client = Client.connect(port, {"authorization": f"Bearer {KEYS[0]}"})
    client.create("m")
    with provider.accept() as upstream:
        upstream.read_request()
        put(file, version(2, provider.port))
        reload(gateway)
        upstream.send(answer_stream("chat").whole)
        kinds = [frame["type"] for frame in client.frames()]
    assert kinds[-1] == "response.completed"
    assert (client.code, client.reason) == (1001, "the gateway has a new configuration: connect again")
    client.wire.close()


@pytest.mark.soak
def test_stored_responses_survive_a_reload(gateway, file, provider):
    headers = {"x-api-key": KEYS[0]}
    with answering(provider):
        made = request(gateway.url, "POST", "/v1/responses", {"model": "m", "input": "hi"}, headers).json
    put(file, {**version(2, provider.port), "client_keys": [{"name": "client-0", "key": KEYS[1]}]})
    reload(gateway)
    kept = request(gateway.url, "GET", f"/v1/responses/{made['id']}", headers={"x-api-key": KEYS[1]})
    assert kept.json["output"] == made["output"]


@contextlib.contextmanager
def answering(provider: Listening) -> Iterator[None]:
    """Let the provider send one answer, in a thread."""

    def answer() -> None:
        with provider.accept() as upstream:
            upstream.read_request()
            upstream.send(whole_answer("chat"))

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("form", ["json", pytest.param("text", marks=pytest.mark.soak)])
def test_each_line_about_an_invalid_file_is_one_log_line(file, provider, form):
    with running_command("serve", "--port", "0", "--log-format", form, cwd=file.parent) as gateway:
        put(file, {**version(2, provider.port), "drian": "5s", "limts": {}})
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: [line for line in gateway.log if "limts" in line], what="the last mistake")
        told = [line for line in gateway.log if "trigate.yaml" in line or REFUSED in line]
    if form == "json":
        lines = list(map(json.loads, told))
        assert {line["level"] for line in lines} == {"error"}
        assert not [line for line in lines if "\n" in line["message"]]
    else:
        assert all(re.match(r"\d\d:\d\d:\d\d error   ", line) for line in told)
    assert len(told) == 3
    assert told[0].count("2 mistakes in the configuration") == 1


@pytest.mark.soak
def test_a_warning_about_the_new_file_is_reported_once_as_a_warning(gateway, file, provider):
    put(file, {**version(2, provider.port), "model_metrics_sources": []})
    reload(gateway)
    eventually(lambda: logged_messages(gateway, "model_metrics_sources"), what="the warning")
    (line,) = [json.loads(line) for line in gateway.log if "model_metrics_sources" in line]
    assert line["level"] == "warning"


@linux
@pytest.mark.parametrize("count", ["1", "2"])
@pytest.mark.parametrize("reads", [0, 1])
def test_a_file_system_that_does_not_respond_delays_neither_requests_nor_the_stop(file, provider, count, reads):
    with running_command("serve", "--port", "0", "--workers", count, cwd=file.parent) as gateway:
        wait_until_up(gateway, int(count))
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        for _ in range(3):
            gateway.process.send_signal(signal.SIGHUP)
        for _ in range(reads):  # the first reads of the reload
            with open(eventually(lambda: opened_by_reader(file), what="a read"), "wb") as pipe:
                file.unlink()
                os.mkfifo(file)  # only for the next read
                pipe.write(content)
        with open(eventually(lambda: opened_by_reader(file), what="the last read"), "wb"):  # the read now blocks
            assert request(gateway.url, "GET", "/healthz").status == 200
            assert gateway.stop() == 0


def opened_by_reader(pipe: Path) -> int | None:
    """Open a named pipe for writing if another process reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


# Workers


@needs_feature("model_lists")
@linux
def test_workers_and_their_replacements_get_the_new_configuration(file, provider):
    with running_command("serve", "--port", "0", "--workers", "2", cwd=file.parent) as gateway:
        wait_until_up(gateway, 2)
        put(file, {**version(2, provider.port), "drain": "1s"})
        reload(gateway)
        wait_until_everywhere(gateway, ["up/model-2", "m"])
        put(file, {"version": "v0.3.0", "drian": 1})
        assert reload(gateway, REFUSED).endswith("2 mistakes in the configuration:")
        text = file.read_bytes()
        file.unlink()
        assert reload(gateway, REFUSED).endswith("trigate.yaml: no such file or directory")
        file.write_bytes(text)
        eventually(lambda: logged_messages(gateway, "drian: unknown key"), what="the mistake")
        wait_until_everywhere(gateway, ["up/model-2", "m"])
        victim = min(workers(gateway.process.pid))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in workers(gateway.process.pid), what="the worker's end")
        wait_until_up(gateway, 2)
        wait_until_everywhere(gateway, ["up/model-2", "m"])
        assert gateway.stop() == 0
    told = [line for line in map(json.loads, gateway.log) if line["event"] == "log"]
    assert Counter(line["level"] for line in told)["error"] == 5  # a worker, two refusals, two mistakes
    assert [line["level"] for line in told if RELOADED in line["message"]] == ["info"]  # once for all workers


def wait_until_everywhere(gateway: Started, expected: list[str]) -> None:
    """Wait until both workers list the ``expected`` models: either worker may accept a connection."""
    eventually(lambda: all(models(gateway) == expected for _ in range(10)), START_SECONDS, "the same answer everywhere")


@needs_feature("model_lists")
@pytest.mark.soak
@linux
def test_a_sighup_during_the_start_of_a_worker_is_not_lost(file, provider):
    with running_command("serve", "--port", "0", "--workers", "2", cwd=file.parent, env={EXECUTED: "1"}) as gateway:
        put(file, version(2, provider.port))
        reload(gateway)
        wait_until_everywhere(gateway, ["up/model-2", "m"])


# A closed terminal


@linux
@pytest.mark.parametrize("count", ["1", pytest.param("2", marks=pytest.mark.soak)])
def test_the_gateway_drains_when_its_terminal_is_closed(file, count):
    pid, terminal = pty.fork()
    if pid == 0:  # the child process, which has the terminal
        try:
            os.chdir(file.parent)
            os.execve(sys.executable, [*COMMAND, "serve", "--port", "0", "--workers", count], environment())
        finally:
            os._exit(70)
    shown = b""
    while b"curl" not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(eventually(lambda: poll_exit(pid), STOP_SECONDS, "its end")[1]) == 0


def poll_exit(pid: int) -> tuple[int, int] | None:
    found = os.waitpid(pid, os.WNOHANG)
    return found if found[0] else None


# Secrets in files


def with_files(folder: Path, upstream: int) -> dict[str, Any]:
    """Write keys to files, and return a configuration that reads them."""
    for name, text in {"provider": "sk-one", "client": KEYS[0]}.items():
        (folder / name).write_text(text + "\n")
        (folder / name).chmod(0o600)
    content = version(0, upstream)
    content["model_providers"][0]["access_key"] = {"file": str(folder / "provider")}
    content["client_keys"] = [{"name": "alice", "key": {"file": str(folder / "client")}}]
    return content


def provider_key(gateway: Started, provider: Listening, key: str) -> str:
    """Return the key that the provider gets with a request of the client with ``key``."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    with Wire.connect(int(gateway.url.rpartition(":")[2])) as client:
        client.send(post("/v1/chat/completions", body, {"x-api-key": key}))
        with provider.accept() as upstream:
            head = upstream.read_until(b"\r\n\r\n").split(b"\r\n\r\n")[0]
            upstream.send(whole_answer("chat"))
        client.read_until(b"one two three")
    return re.search(rb"(?i)authorization: bearer (.*)", head)[1].decode().strip()


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=[linux, pytest.mark.soak])])
def test_a_reload_reads_keys_in_files_and_the_log_lists_their_holders(tmp_path, provider, count):
    put(tmp_path / "trigate.yaml", with_files(tmp_path, provider.port))
    with running_command("serve", "--port", "0", "--workers", str(count), cwd=tmp_path) as gateway:
        if count > 1:
            wait_until_up(gateway, count)
        assert provider_key(gateway, provider, KEYS[0]) == "sk-one"
        (tmp_path / "provider").write_text("sk-two")
        (tmp_path / "client").write_text(KEYS[1])
        line = reload(gateway)
        assert "~ model up/model-0: access_key changed; ~ client key alice: another key" in line
        eventually(lambda: all(models(gateway, KEYS[0]) == 401 for _ in range(9)), what="workers with the new key")
        assert provider_key(gateway, provider, KEYS[1]) == "sk-two"
        (tmp_path / "provider").write_text("")
        assert "provider is empty" in reload(gateway, REFUSED)
        assert provider_key(gateway, provider, KEYS[1]) == "sk-two"
        assert not [text for text in gateway.log if "sk-one" in text or "sk-two" in text or KEYS[1] in text]


@pytest.mark.soak
@linux
def test_a_replaced_worker_keeps_the_last_valid_keys(tmp_path, provider):
    put(tmp_path / "trigate.yaml", with_files(tmp_path, provider.port))
    with running_command("serve", "--port", "0", "--workers", "2", cwd=tmp_path) as gateway:
        wait_until_up(gateway, 2)
        (tmp_path / "provider").unlink()
        before = workers(gateway.process.pid)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(workers(gateway.process.pid) - before) == 2, START_SECONDS, "new workers")
        assert provider_key(gateway, provider, KEYS[0]) == "sk-one"


@linux
def test_a_killed_supervisor_leaves_no_keys_or_prompts_on_disk(tmp_path, provider):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    put(tmp_path / "trigate.yaml", version(0, provider.port))
    env = {"TMPDIR": str(temporary)}
    with running_command("serve", "--port", "0", "--workers", "2", cwd=tmp_path, env=env) as gateway:
        wait_until_up(gateway, 2)
        files = [file.read_bytes() for file in temporary.rglob("*") if file.is_file()]
        assert files, "what workers share is there"
        assert not [data for data in files if b"key-0" in data or KEYS[0].encode() in data]
        gateway.process.kill()
        eventually(lambda: not list(temporary.iterdir()), START_SECONDS, "an empty directory")
