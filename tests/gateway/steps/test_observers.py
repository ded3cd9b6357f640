"""Observers get one record of each exchange, whatever ended it, with its texts after all masks.

Callbacks that delayed or failed requests: https://github.com/BerriAI/litellm/issues/7930; values that reached a log
in spite of masks: https://github.com/BerriAI/litellm/issues/35951."""

import http.client
import json
import threading
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import (
    PATIENCE,
    Wire,
    config,
    eventually,
    exchanges,
    free_port,
    post,
    provider,
    refusing_port,
)
from tests.support.upstreams import Script, fake_upstream
from tests.support.wire_clients import body_of, path_of, text_of

CODE: Final = """
import json
import re
import threading
from pathlib import Path

import attrs
import trio

from trigate.steps import Finding

HERE = Path(__file__).parent
WORD = re.compile(r"falcon-\\d+")
release = threading.Event()


def note(name, records):
    with (HERE / f"{name}.jsonl").open("a") as file:
        for one in records:
            values = {key: value for key, value in attrs.asdict(one, recurse=False).items() if key != "steps"}
            file.write(json.dumps({**values, "steps": dict(one.steps), "batch": len(records)}) + "\\n")


def save(records):
    note("save", records)


async def save_async(records):
    await trio.sleep(0)
    note("save_async", records)


def facts(records):
    note("facts", records)


def masked(records):
    note("masked", records)


def crash(records):
    note("crash", records)
    raise ValueError(f"no database for {records[0].request}")


def slow(records):
    note("slow", records)
    while not (HERE / "go").exists():
        release.wait(0.05)


async def sleep_long(records):
    note("sleep_long", records)
    await trio.sleep(60)


def words(check):
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]
"""

APIS: Final = ("chat", "messages", "responses")
VENDORS: Final = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
CLIENTS: Final = ("plain", "mask", "restore", "refuse", "stop")
SIGNING: Final = "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="


def settings_for(folder: Path, url: str, port: int, steps: list[dict[str, Any]], **more: Any) -> Path:
    """Write the configuration of a gateway with ``steps`` and their code, and return its file."""
    (folder / "steps.py").write_text(CODE)
    entries = [provider(f"{VENDORS[api]}/on-{api}", url + "/v1", [api]) for api in APIS]
    keys = [{"name": name, "key": f"key-of-{name}-0123456789"} for name in CLIENTS]
    file = folder / "trigate.yaml"
    settings = config(entries, port, client_keys=keys, steps=steps, signing_key=SIGNING, **more)
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    return file


def observer(name: str, **more: Any) -> dict[str, Any]:
    return {"use": f"./steps.py:{name}", "at": ["finished"], **more}


def records_in(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the records that an observer got so far."""
    file = folder / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as served:
        yield served


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("observers")


@pytest.fixture(scope="module")
def gateway(upstream, folder):
    port = free_port()
    steps = [
        {"use": "./steps.py:words", "name": "mask", "action": "mask", "for": {"clients": ["mask"]}},
        {
            "use": "./steps.py:words", "name": "restore", "action": "mask", "at": ["request"], "restore": True,
            "for": {"clients": ["restore"]},
        },
        {"use": "./steps.py:words", "name": "refuse", "action": "refuse", "for": {"clients": ["refuse"]}},
        {
            "use": "./steps.py:words", "name": "stop", "action": "refuse", "for": {"clients": ["stop"]},
            "refusal": {"as": "stop", "message": "Not here."},
        },
        observer("save", **{"with": {"content": True}}),
        observer("facts"),
        observer("save_async", **{"with": {"content": True}, "for": {"clients": ["restore"]}}),
        observer("crash", **{"with": {"content": True}}),
        {"use": "./steps.py:words", "name": "later", "action": "mask", "at": ["finished"]},
        observer("masked", **{"with": {"content": True}}),
    ]  # fmt: skip
    with refusing_port() as closed:
        more = [provider("openai/gone", f"http://127.0.0.1:{closed}/v1", ["chat"])]
        file = settings_for(folder, upstream.url, port, steps)
        settings = yaml.safe_load(file.read_text())
        settings["model_providers"] += more
        file.write_text(yaml.safe_dump(settings, sort_keys=False))
        with gateway_thread(file, port) as served:
            yield served


def ask(gateway, client: str, api: str, target: str, prompt: str, *, stream: bool) -> tuple[int, str, bytes]:
    """Return the status, the request id and the body of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    model = f"on-{target}" if target in APIS else target
    headers = {"authorization": f"Bearer key-of-{client}-0123456789", "content-type": "application/json"}
    connection.request(
        "POST", path_of(api, model, stream=stream), json.dumps(body_of(api, model, prompt, stream=stream)), headers
    )
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers["x-request-id"] or response.headers["request-id"], body


def record_of(folder: Path, observed_by: str, request_id: str) -> dict[str, Any]:
    """Wait for the record of a request, and return it."""

    def found() -> list[dict[str, Any]]:
        return [one for one in records_in(folder, observed_by) if one["request_id"] == request_id]

    eventually(found)
    (record,) = found()
    return record


CELLS: Final = [(target, stream) for target in APIS for stream in (False, True)]
apis = pytest.mark.parametrize("api", [*APIS, "gemini", "converse"])


@apis
def test_an_observer_gets_the_texts_of_every_api(gateway, upstream, folder, api):
    asked = []
    for target, stream in CELLS:
        upstream.script(Script(text="it is falcon-77 today"))
        status, request_id, body = ask(gateway, "plain", api, target, "about falcon-12", stream=stream)
        assert status == 200, body
        asked.append(request_id)
    for request_id in asked:
        record = record_of(folder, "save", request_id)
        assert (record["ended"], record["status"], record["client"], record["api"]) == ("complete", 200, "plain", api)
        assert "falcon-12" in json.dumps(json.loads(record["request"]))
        assert text_of(api, record["response"].encode(), stream=False) == "it is falcon-77 today"
        (line,) = exchanges(gateway.log, request_id)
        fields = ("target", "input_tokens", "output_tokens")
        assert [record[name] for name in fields] == [line[name] for name in fields]
        masked = record_of(folder, "masked", request_id)
        assert "falcon" not in masked["request"] + masked["response"]
        assert "[WORD_" in masked["request"]
        assert text_of(api, masked["response"].encode(), stream=False).startswith("it is [WORD_")
        facts = record_of(folder, "facts", request_id)
        assert (facts["request"], facts["response"]) == (None, None)


@apis
@pytest.mark.parametrize("client", ["mask", "restore"])
def test_an_observer_gets_no_masked_and_no_restored_value(gateway, upstream, folder, client, api):
    asked = []
    for target, stream in CELLS:
        upstream.script(Script(text="fine"))
        ask(gateway, client, api, target, "about falcon-12", stream=stream)
        sent = upstream.seen[0].body.decode()
        placeholder = sent[sent.index("[WORD_") : sent.index("]", sent.index("[WORD_")) + 1]
        upstream.script(Script(text=f"you said {placeholder} there"))
        _, request_id, body = ask(gateway, client, api, target, "about falcon-12", stream=stream)
        own = "falcon-12" if client == "restore" else placeholder
        assert text_of(api, body, stream=stream) == f"you said {own} there"
        asked.append((request_id, placeholder))
    for request_id, placeholder in asked:
        record = record_of(folder, "save_async" if client == "restore" else "save", request_id)
        assert "falcon" not in record["request"] + record["response"]
        assert placeholder in record["request"]
        assert text_of(api, record["response"].encode(), stream=False) == f"you said {placeholder} there"
        assert record["steps"][client] == "masked"


@apis
def test_a_refused_text_is_in_no_record(gateway, upstream, folder, api):
    asked = []
    for target, stream in CELLS:
        upstream.script(Script(text="fine"))
        status, refused, _ = ask(gateway, "refuse", api, target, "about falcon-12", stream=stream)
        assert status == 400
        upstream.script(Script(text="it is falcon-77"))
        _, stopped, _ = ask(gateway, "stop", api, target, "hi", stream=stream)
        asked.append((refused, stopped))
    for refused, stopped in asked:
        record = record_of(folder, "save", refused)
        assert (record["status"], record["ended"]) == (400, "refused")
        assert (record["request"], record["response"], record["steps"]) == (None, None, {"refuse": "refused"})
        record = record_of(folder, "save", stopped)
        assert record["ended"] == "refused"
        assert text_of(api, record["response"].encode(), stream=False) == "Not here."


def test_an_upstream_error_and_a_bad_request_have_a_record(gateway, folder):
    status, request_id, _ = ask(gateway, "plain", "chat", "gone", "hi", stream=False)
    record = record_of(folder, "facts", request_id)
    assert (record["status"], record["ended"], record["error"]) == (status, "upstream_error", "upstream")
    status, request_id, _ = ask(gateway, "plain", "chat", "unknown-model", "hi", stream=True)
    record = record_of(folder, "facts", request_id)
    assert (record["status"], record["ended"], record["target"]) == (status, "refused", None)


def test_a_client_that_leaves_has_a_record_with_the_text_so_far(gateway, upstream, folder):
    upstream.script(Script(text="one two three", pause=threading.Event()))
    body = {"model": "on-chat", "stream": True, "messages": [{"role": "user", "content": "leaving"}]}
    before = len(exchanges(gateway.log))
    with Wire.connect(gateway.port) as wire:
        wire.send(post("/v1/chat/completions", body, {"authorization": "Bearer key-of-plain-0123456789"}))
        wire.read_until(b"one")
    line = eventually(lambda: exchanges(gateway.log)[before:])[0]
    record = record_of(folder, "save", line["request_id"])
    assert (record["ended"], line["ended"]) == ("client_disconnected", "client_disconnected")
    assert "one" in record["response"]


def test_each_exchange_has_one_record_and_a_crash_reaches_no_request(gateway, folder):
    lines = {one["request_id"] for one in exchanges(gateway.log)}
    eventually(lambda: len(records_in(folder, "facts")) >= len(lines))
    seen = [one["request_id"] for one in records_in(folder, "facts")]
    assert sorted(seen) == sorted(lines)
    eventually(lambda: len(records_in(folder, "crash")) >= len(lines))
    crashes = [line for line in gateway.log if "the observer crash failed" in line]
    assert len(crashes) == 1
    assert "ValueError (steps.py, line" in crashes[0]
    assert "falcon" not in "\n".join(gateway.log)
