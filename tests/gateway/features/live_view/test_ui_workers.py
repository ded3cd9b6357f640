"""The live view with several workers: each worker shows the streams of all workers."""

import contextlib
import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import browsing, needs_chromium
from tests.support.harness import PATIENCE, START_SECONDS, Gateway, Wire, eventually, free_port, post, request, running
from tests.support.live_viewers import Viewer, rows, viewing
from tests.support.processes import peers, workers
from tests.support.raw_call import new_id, settings
from tests.support.upstreams import PATHS

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc"),
]

CLIENTS = [{"name": name, "key": f"of-{name}"} for name in ("me", "them")]
ASKED = {"model": "on-chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def supervisor(by_hand) -> Iterator[Gateway]:
    port = free_port()
    with running(settings(by_hand, port), port, "--workers", "2") as process:
        yield process
        assert "Traceback" not in "\n".join(process.log)


@pytest.fixture
def crew(supervisor) -> Gateway:
    eventually(lambda: len(folder_of(supervisor)) == 2, START_SECONDS, "both workers' sockets")
    return supervisor


def folder_of(process: Gateway) -> set[Path]:
    """Return the sockets of the workers, from the directory in their command lines."""
    found = set()
    for pid in workers(process.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            path = Path(words[words.index("--directory") + 1]) / f"{pid}.view"
            found |= {path} if path.exists() else set()
    return found


@contextlib.contextmanager
def a_stream_in_each(process: Gateway, keys: tuple[str, ...] = ("",)) -> Iterator[dict[int, tuple[str, Wire]]]:
    """Keep a request in flight in each worker, for each of ``keys``. Yield each id and connection by the process id."""
    held: dict[int, tuple[str, Wire]] = {}
    with contextlib.ExitStack() as stack:

        def ask(key: str) -> bool:
            wire = stack.enter_context(Wire.connect(process.port))
            id = new_id()
            headers = {"authorization": f"Bearer {key}"} if key else {}
            wire.send(post(PATHS["chat"], ASKED, {"x-request-id": id, **headers}))
            port = wire.sock.getsockname()[1]
            pid = eventually(
                lambda: next((pid for pid in workers(process.pid) if port in peers(pid, process.port)), None)
            )
            held[pid] = id, wire
            return len(held) == 2

        for key in keys:
            held.clear()
            eventually(lambda key=key: ask(key), START_SECONDS, "a stream in each worker")
        yield held


def both_at_first(viewer: Viewer) -> dict[int, dict[str, Any]]:
    """Return the data of each worker's first event."""
    found: dict[int, dict[str, Any]] = {}

    def note(name: str, data: dict[str, Any]) -> Any:
        if name == "all":
            found[data["process"]] = data
        return found if len(found) == 2 else None

    viewer.hear(note)
    return found


def in_flight(process: Gateway, key: str | None = None) -> dict[tuple[int, str], dict[str, Any]]:
    """Return the rows of a viewer's first events, by process and id."""
    with viewing(process, key=key) as viewer:
        return {(pid, row["id"]): row for pid, data in both_at_first(viewer).items() for row in rows(data)}


def numbers_of(process: Gateway, streams: dict[int, tuple[str, Wire]], key: str | None = None) -> dict[int, int]:
    """Wait until a viewer sees all ``streams``, and return their numbers in their workers."""
    wanted = {(pid, id) for pid, (id, _) in streams.items()}
    found = eventually(lambda: (found := in_flight(process, key)).keys() >= wanted and found, what="all streams")
    return {pid: found[pid, id]["n"] for pid, id in wanted}


@pytest.mark.soak
def test_a_dead_worker_disappears_and_the_next_one_appears(crew):
    with a_stream_in_each(crew), viewing(crew) as viewer:
        mine = viewer.hear(lambda name, data: data["process"] if name == "all" else None)
        other = viewer.hear(lambda name, data: data["process"] if name == "all" else None)
        os.kill(other, signal.SIGKILL)
        assert viewer.hear(lambda name, data: data["process"] if name == "gone" else None) == other
        new = viewer.hear(lambda name, data: data["process"] if name == "all" else None)
        assert new not in (mine, other)
        assert {int(path.stem) for path in folder_of(crew)} == {mine, new}


def test_a_stream_of_another_worker_can_be_opened_and_seen_to_end(crew):
    with a_stream_in_each(crew) as streams:
        for pid, number in numbers_of(crew, streams).items():
            with viewing(crew, f"/ui/streams/{number}?worker={pid}") as viewer:
                assert viewer.hear(lambda name, data: data if name == "opened" else None) == {"kept": "kept"}
                streams[pid][1].sock.close()
                line = viewer.hear(lambda name, data: data["line"] if name == "ended" else None)
                assert line["ended"] == "client_disconnected"
    for wrong in ("1?worker=1", "1?worker=../1", "4711?worker=0"):
        with viewing(crew, f"/ui/streams/{wrong}") as viewer:
            assert viewer.response.status == 404


def test_a_client_sees_only_its_own_streams_also_on_other_workers(by_hand):
    port = free_port()
    with running(settings(by_hand, port, client_keys=CLIENTS, audit="stderr"), port, "--workers", "2") as process:
        eventually(lambda: len(folder_of(process)) == 2, START_SECONDS, "both workers' sockets")
        with a_stream_in_each(process, ("of-me", "of-them")) as theirs:
            numbers = numbers_of(process, theirs, "of-them")
            assert {row["client"] for row in in_flight(process, "of-them").values()} == {"them"}
            for pid, number in numbers.items():
                with viewing(process, f"/ui/streams/{number}?worker={pid}", key="of-me") as viewer:
                    assert viewer.response.status == 404
                with viewing(process, f"/ui/streams/{number}?worker={pid}", key="of-them") as viewer:
                    assert viewer.hear(lambda name, data: name == "opened")
            eventually(lambda: len(opened_streams(process)) == len(numbers), what="the audit")
            assert {(line["client"], line["owner"]) for line in opened_streams(process)} == {("them", "them")}
            assert {line["request"] for line in opened_streams(process)} == {id for id, _ in theirs.values()}


def opened_streams(process: Gateway) -> list[dict[str, Any]]:
    """Return the audit's lines so far about streams that someone opened."""
    return [json.loads(line) for line in list(process.log) if '"ui_stream_opened"' in line]


def test_worker_sockets_are_private_and_ignore_invalid_requests(crew):
    sockets = folder_of(crew)
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in sockets} == {0o700}
    for path in sockets:
        for question in (b"nonsense\n", b"[]\n", b"x" * 100_000, b'{"client": 1}\n', b""):
            with socket.socket(socket.AF_UNIX) as wire:
                wire.settimeout(PATIENCE)
                wire.connect(str(path))
                with contextlib.suppress(ConnectionError):
                    wire.sendall(question)
                    wire.shutdown(socket.SHUT_WR)
                    assert wire.recv(100) == b""
    with viewing(crew) as viewer:
        assert len(both_at_first(viewer)) == 2
    assert request(crew.url, "GET", "/readyz").status == 200


@pytest.mark.soak
@needs_chromium
def test_the_page_shows_sums_over_all_workers(crew):
    with a_stream_in_each(crew), browsing() as page:
        page.look()
        page.open(f"{crew.url}/ui")
        page.until("document.getElementById('about').innerText.includes('2 workers')")
        page.until("document.querySelectorAll('#streams tbody tr').length >= 2")
        count = page.value("document.querySelectorAll('#streams tbody tr').length")
        assert page.text("#tile-flight") == str(count)
        keys = page.value(
            "[...document.querySelectorAll('#streams tbody tr')].map(row => row.dataset.key.split('/')[0])"
        )
        assert set(map(int, keys)) == workers(crew.pid)
        assert page.complaints == []
        victim = int(keys[0])
        os.kill(victim, signal.SIGKILL)
        page.until(
            f"![...document.querySelectorAll('#streams tbody tr')].some(row => row.dataset.key.startsWith('{victim}/'))"
        )
