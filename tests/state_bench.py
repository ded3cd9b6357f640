"""Measures the cost of stored turns: latency and CPU per turn for each store and several conversation lengths, compared
with ``store: false`` and the whole conversation in the request; and the stored bytes.

    python -m tests.state_bench [--turns 100] [--lengths 1 10 100]
"""

import argparse
import contextlib
import http.client
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.support import postgres
from tests.support.harness import Gateway, config, free_port, provider, running
from tests.support.upstreams import Raw, Script, Seen, Upstream, fake_upstream, render

ASKED = "What comes next, and why does it? " * 6  # about 200 bytes
SAID = Script(text="It is what follows from all that was said before. " * 8)  # about 400 bytes
TICK = 1000 / os.sysconf("SC_CLK_TCK")
KINDS = ("memory", "sqlite", "postgres")


@attrs.frozen
class Cost:
    """The cost of one turn in milliseconds."""

    latency: float
    cpu: float


class Client:
    """One connection, as a program would keep it."""

    def __init__(self, gateway: Gateway) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        self._pid = gateway.pid

    def ask(self, **more: Any) -> str:
        """Make one turn, and return its id."""
        body = json.dumps({"model": "m", **more})
        self._connection.request("POST", "/v1/responses", body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        data = response.read()
        assert response.status == 200, data
        if more.get("stream"):
            data = data.rstrip().rpartition(b"data: ")[2]
        value = json.loads(data)
        id = value.get("response", value)["id"]
        assert isinstance(id, str)
        return id

    def measure(self, turns: int, **more: Any) -> Cost:
        taken = []
        before = self._cpu()
        for _ in range(turns):
            began = time.perf_counter()
            self.ask(**more)
            taken.append(1000 * (time.perf_counter() - began))
        return Cost(statistics.median(taken), (self._cpu() - before) / turns)

    def _cpu(self) -> float:
        """Return the CPU milliseconds of the gateway so far, including its threads."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return TICK * (int(fields[11]) + int(fields[12]))

    def close(self) -> None:
        self._connection.close()


def history(length: int) -> list[dict[str, str]]:
    """Return the input of the last of ``length`` turns, as a client without stored turns sends it."""
    turn = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID.text}]
    return [*(turn * (length - 1)), turn[0]]


def ids(client: Client, lengths: Sequence[int]) -> Mapping[int, dict[str, str]]:
    """Return, for each length, the members of a request that make it the last of that many turns."""
    found: dict[int, dict[str, str]] = {1: {}}
    for number in range(2, max(lengths) + 1):
        found[number] = {"previous_response_id": client.ask(input=ASKED, store=True, **found[number - 1])}
    return found


def measure_lengths(client: Client, lengths: Sequence[int], turns: int) -> Iterator[tuple[int, bool, Cost, Cost]]:
    """Yield, for each length, streamed and whole, the cost of a turn without and with storage."""
    before = ids(client, lengths)
    for length in lengths:
        for stream in (True, False):
            client.measure(10, input=ASKED, stream=stream, store=True, **before[length])  # warm
            plain = client.measure(turns, input=history(length), stream=stream, store=False)
            yield length, stream, plain, client.measure(turns, input=ASKED, stream=stream, store=True, **before[length])


def stored_bytes(path: Path, lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield a turn's number, its bytes, and the bytes of all turns so far, for one conversation in a SQLite store."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        size = dict(db.execute("SELECT id, size FROM nodes WHERE kind IN ('response', 'head')"))
        parents = dict(db.execute("SELECT parent, id FROM nodes WHERE kind = 'response' ORDER BY node DESC"))
    total, id = 0, parents[None]
    for number in range(1, max(lengths)):
        own = size[id] + size[f"{id}/head"]
        total += own
        if number in lengths or number == max(lengths) - 1:
            yield number, own, total
        id = parents[id]


def answer(seen: Seen) -> Raw:
    return render(SAID, "chat", seen.json)


@contextlib.contextmanager
def serving(storage: Mapping[str, str], upstream: Upstream) -> Iterator[Client]:
    port = free_port()
    settings = config([provider("openai/m", upstream.url, ["chat"])], port, state_storage=dict(storage))
    with running(settings, port) as gateway, contextlib.closing(Client(gateway)) as client:
        yield client


def report(kind: str, client: Client, lengths: Sequence[int], turns: int) -> None:
    for length, stream, plain, kept in measure_lengths(client, lengths, turns):
        print(
            f"{kind:9} {length:5}  {'stream' if stream else 'whole':6}  "
            f"{plain.latency:8.2f} {kept.latency:8.2f} {kept.latency - plain.latency:+8.2f}   "
            f"{plain.cpu:8.2f} {kept.cpu:8.2f} {kept.cpu - plain.cpu:+8.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100, help="turns that each figure is taken from")
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 10, 100], help="turns of the conversations")
    options = parser.parse_args()
    print("milliseconds per turn              latency, median              CPU of the gateway")
    print(
        f"{'store':9} {'turns':>5}  {'':6}  {'false':>8} {'true':>8} {'more':>8}   {'false':>8} {'true':>8} {'more':>8}"
    )
    with tempfile.TemporaryDirectory() as folder, fake_upstream() as upstream, contextlib.ExitStack() as stack:
        upstream.answer = answer  # type: ignore[method-assign]
        path = Path(folder) / "state.sqlite"
        places: dict[str, dict[str, str]] = {"memory": {"max_bytes": "256MiB"}, "sqlite": {"path": str(path)}}
        if (bin := postgres.binaries()) is not None:
            server = stack.enter_context(postgres.running_server(bin))
            places["postgres"] = {"connection_string": server.url}
        for kind, place in places.items():
            with serving({"type": kind, **place}, upstream) as client:
                report(kind, client, options.lengths, options.turns)
        print("\nbytes stored      turn    total   total/turn")
        for number, own, total in stored_bytes(path, options.lengths):
            print(f"turn {number:4} {own:12} {total:8} {total / number:12.0f}")


if __name__ == "__main__":
    main()
