"""A gateway with observers, whose records are in files next to their code."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.features.steps import observers
from tests.support.harness import eventually
from tests.support.step_gateway import client_keys, post_as, step_settings
from tests.support.step_providers import entries_of
from tests.support.wire_clients import body_of, path_of

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


def broken(check):
    raise ValueError("the step is broken")


def words(check):
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]
"""

APIS: Final = ("chat", "messages", "responses")
CLIENTS: Final = (
    "plain", "mask", "restore", "refuse", "during", "unsure", "stop", "broken-mask", "broken-report", "broken-pass",
)  # fmt: skip


def settings_for(folder: Path, url: str, port: int, steps: list[dict[str, Any]], **more: Any) -> Path:
    """Write the configuration of a gateway with ``steps`` and their code, and return its file."""
    keys = client_keys(CLIENTS)
    return step_settings(folder, port, entries_of(url, APIS), CODE, client_keys=keys, steps=steps, **more)


@contextlib.contextmanager
def short_batches() -> Iterator[None]:
    """Let the first record of a batch wait for others for 50 ms in the block, not for a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(observers, "WAIT", 0.05)
        yield


def observer(name: str, **more: Any) -> dict[str, Any]:
    return {"use": f"./steps.py:{name}", "at": ["finished"], **more}


def records_in(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the records that an observer got so far."""
    file = folder / f"{name}.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def ask(gateway, client: str, api: str, target: str, prompt: str, *, stream: bool) -> tuple[int, str, bytes]:
    """Return the status, the request id and the body of a response."""
    model = f"on-{target}" if target in APIS else target
    path, sent = path_of(api, model, stream=stream), body_of(api, model, prompt, stream=stream)
    status, headers, body = post_as(gateway, client, path, sent)
    return status, headers.get("x-request-id") or headers["request-id"], body


def record_of(folder: Path, observed_by: str, request_id: str) -> dict[str, Any]:
    """Wait for the record of a request, and return it."""

    def matching_records() -> list[dict[str, Any]]:
        return [one for one in records_in(folder, observed_by) if one["request_id"] == request_id]

    eventually(matching_records)
    (record,) = matching_records()
    return record
