"""The soak: a real gateway between the clients of `trigate load`, who leave, and a `trigate mock` that dies and stalls.

    python tests/soak.py --seconds 60 --streams 200 --concurrent 1000 --kills 10

Reports the events, then checks for leftovers: file descriptors, connections to the provider and memory return to their
initial values. Each request has at most one ledger line, each answered one exactly one. No failed answer looks complete
and no good one broken. Then the load continues while workers are killed, and finally the gateway receives a SIGTERM.
"""

import argparse
import contextlib
import datetime
import json
import os
import random
import resource
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

sys.path.insert(0, str(Path(__file__).parents[1]))  # if run as a command

from gateway.serving.lifecycle import CUT_AFTER
from tests.support.apis import question
from tests.support.command_line import Started, environment, running_command
from tests.support.harness import Gateway, config, eventually, exchanges, free_port, post, provider, running
from tests.support.processes import is_running, peers, resident, stop, workers
from tests.support.repository import ROOT
from tests.support.upstreams import PATHS
from tests.support.warm_start import Forked

WHOLE = ("up", "fault/comments")
BROKEN = ("cut-after", "cut-after", "reset-after", "stall", "silent", "529", "529", "garbage")
MODELS = ("up",) * 8 + ("fault/comments",) * 3 + tuple(f"fault/{name}" for name in BROKEN)
VENDORS = {"chat": "openai", "messages": "anthropic"}
PATIENT, FLOOD = "patient", "fault/big-event-5"
PACE = 0.5  # seconds between two words of a paced stream
STARTS = 125  # paced streams started per second
MEMORY = 32  # MiB by which the gateway may grow
DRAIN = 0.5
MARGIN = 4.0  # seconds that a busy machine may add to an end; the supervisor kills its workers a second later
WAITING = 6  # clients of each API that wait at the end
MOMENT = 0.5
PATIENCE = 60.0


def settings(mock: Started, port: int) -> dict[str, Any]:
    models = {**{name: name for name in (*MODELS, FLOOD)}, PATIENT: "fault/stall"}
    patience = {name: "60s" if name in (*WHOLE, FLOOD, PATIENT) else "1s" for name in models}
    entries = [
        provider(
            f"{vendor}/{model}",
            f"{mock.url}/v1",
            [api],
            name=f"{name}-{api}",
            timeouts={"idle": patience[name], "first_byte": patience[name]},
        )
        for api, vendor in VENDORS.items()
        for name, model in models.items()
    ]
    return config(entries, port, drain=DRAIN)


@attrs.frozen
class Outcome:
    """The end of a request: the model, and the line of the log."""

    model: str
    line: dict[str, Any]

    @property
    def end_time(self) -> float:
        return datetime.datetime.fromisoformat(self.line["time"]).timestamp() + self.line["ended"]

    @property
    def is_wrong(self) -> bool:
        """Whether a failed answer looks whole, or a whole one failed."""
        return self.line["end"] in (("error", "unfinished") if self.model in WHOLE else ("whole",))


class Load:
    """One ``trigate load`` of ``api`` with ``models``, each from both of the provider's APIs."""

    def __init__(self, gateway: Gateway, api: str, models: Sequence[str], *options: str) -> None:
        self._models = [(name, stream) for name in models for stream in (True, True, False)]
        random.Random(1).shuffle(self._models)
        self._bodies = [
            question(api, f"{name}-{vendor}", stream=stream) for name, stream in self._models for vendor in VENDORS
        ]
        self._folder = tempfile.TemporaryDirectory()
        self._log, requests, said = (Path(self._folder.name, name) for name in ("log", "requests", "said"))
        requests.write_text("".join(json.dumps(body) + "\n" for body in self._bodies))
        args = ["load", "--api", api, "--requests", str(requests), "--log", str(self._log), *options, gateway.url]
        with said.open("w") as saying:
            self._process = Forked(args, ROOT, environment(), saying.fileno(), saying.fileno())

    def end(self, number: int | None = None) -> list[Outcome]:
        """Wait for the end, after the signal ``number``, and return the end of each request."""
        if number:
            self._process.send_signal(number)
        self._process.wait(2 * PATIENCE)
        lines = map(json.loads, self._log.read_text().splitlines())
        with self._folder:
            return [Outcome(self._models[line["number"] // 2 % len(self._models)][0], line) for line in lines]


# Resources of the gateway


def fds(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def cpu(gateway: Gateway) -> float:
    """Return the CPU seconds so far."""
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def more_files() -> None:
    """Raise the limit of open files, which the processes inherit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@attrs.define
class Soak:
    """A load of ``streams`` mixed clients, and the checks of its ends."""

    streams: int
    apis: Sequence[str] = tuple(PATHS)
    outcomes: list[Outcome] = attrs.field(factory=list, init=False)
    _kills: list[float] = attrs.field(factory=list, init=False)
    _stopped: float = attrs.field(default=float("inf"), init=False)

    @contextlib.contextmanager
    def _serving(self, *args: str, pace: float = 0.002) -> Iterator[tuple[Gateway, Started]]:
        more_files()
        port = free_port()
        with (
            running_command("mock", "--port", "0", "--pace", str(pace)) as mock,
            running(settings(mock, port), port, *args) as gateway,
        ):
            yield gateway, mock
        self._check_ends(gateway)

    def _start_mixed(self, gateway: Gateway, seconds: float) -> list[Load]:
        options = ["--concurrency", str(-(-self.streams // len(self.apis))), "--seconds", f"{seconds:g}"]
        return [Load(gateway, api, MODELS, *options, "--leave", "25%:50ms") for api in self.apis]

    def _end(self, loads: Sequence[Load], number: int | None = None) -> None:
        self.outcomes += [outcome for load in loads for outcome in load.end(number)]

    def was_lost(self, outcome: Outcome) -> bool:
        """Return whether the request ended with a killed worker, or with the gateway.

        An exchange is logged just after its end. So a request that ended a moment before a kill may count, too.
        """
        return outcome.end_time > self._stopped or any(abs(outcome.end_time - at) < MOMENT for at in self._kills)

    def _check_ends(self, gateway: Gateway) -> None:
        """Check the outcomes and the ledger after the gateway has ended, and report them."""
        ends = Counter(f"{one.model} {one.line['error'] or one.line['end']}" for one in self.outcomes)
        print(f"ends: {dict(sorted(ends.items()))}")
        lines = Counter(line["request_id"] for line in exchanges(gateway.log))
        twice = [name for name, count in lines.items() if count > 1]
        answered = [one for one in self.outcomes if one.line["request_id"]]
        without = [one for one in answered if one.line["request_id"] not in lines and not self.was_lost(one)]
        wrong = [one for one in self.outcomes if one.is_wrong and (one.model not in WHOLE or not self.was_lost(one))]
        print(f"ledger: {len(lines)} lines for {len(self.outcomes)} requests, {len(answered)} answered")
        assert not twice, f"more than one line for {twice[:5]}"
        assert not without, f"no line for {without[:5]}"
        assert not wrong, wrong[:10]
        assert "Traceback" not in "\n".join(gateway.log)

    def run_mixed(self, seconds: float) -> None:
        """Check that mixed clients leave nothing. Raises ``AssertionError`` for leftovers and violations."""
        with self._serving() as (gateway, mock):
            baseline = fds(gateway)
            self._end(self._start_mixed(gateway, min(2.0, seconds / 2)))  # creates all permanent resources
            self._wait_for_quiet(gateway, mock, baseline)
            before, busy = resident(gateway.pid), cpu(gateway)
            self._end(self._start_mixed(gateway, seconds))
            self._wait_for_quiet(gateway, mock, baseline)
            grown = resident(gateway.pid) - before
            print(
                f"file descriptors {baseline} -> {fds(gateway)}; memory {before:.0f} -> {before + grown:.0f} MiB; "
                f"{cpu(gateway) - busy:.1f} s of CPU"
            )
            assert grown < MEMORY, f"the gateway has grown by {grown:.0f} MiB"
            begun = time.monotonic()
        took = time.monotonic() - begun  # with tasks left, it would wait for the end of its drain
        assert took < 3, f"with nothing in flight the gateway took {took:.1f} s to stop"

    def run_paced(self, concurrent: int, pace: float = PACE) -> float:
        """Run ``concurrent`` simultaneous paced streams, and return by how many seconds the median event was late."""
        with self._serving(pace=pace) as (gateway, mock):
            baseline, before, busy = fds(gateway), resident(gateway.pid), cpu(gateway)
            options = ["--rate", f"{STARTS / len(self.apis):g}", "-n", str(concurrent // len(self.apis))]
            loads = [Load(gateway, api, ["up"], *options) for api in self.apis]
            time.sleep(concurrent / STARTS + 2 * pace)
            most = resident(gateway.pid)
            self._end(loads)
            streams = [one.line for one in self.outcomes if one.line["gap"] is not None]
            events = sum(line["tokens"]["events"] for line in streams)
            late = statistics.median(line["gap"] - pace for line in streams)
            print(
                f"{len(self.outcomes)} paced streams: late by {1000 * late:.1f} ms in the median, "
                f"{1000 * (max(line['stall'] for line in streams) - pace):.1f} at most; "
                f"{1024 * (most - before) / concurrent:.0f} KiB a stream, "
                f"{1e6 * (cpu(gateway) - busy) / events:.0f} µs of CPU an event"
            )
            self._wait_for_quiet(gateway, mock, baseline)
        return late

    def _wait_for_quiet(self, gateway: Gateway, mock: Started, baseline: int) -> None:
        """Wait until the gateway only has its initial descriptors and idle connections to the provider."""
        port = int(mock.url.rpartition(":")[2])
        eventually(
            lambda: fds(gateway) <= baseline + len(peers(mock.process.pid, port)),
            PATIENCE,
            f"the end of all connections but the {baseline} file descriptors of the beginning",
        )

    def run_signals(self, number: int, kills: int = 0, pause: float = 1.0) -> None:
        """Kill one of ``number`` workers several times, then send SIGTERM with stalled clients and providers.

        ``pause`` are seconds of work before each.
        """
        dice = random.Random(1)
        with self._serving("--workers", str(number)) as (gateway, _):
            loads = self._start_mixed(gateway, 3600)
            for _ in range(kills):
                self._work(gateway, number, pause)
                victim = dice.choice(sorted(workers(gateway.pid)))
                stop(victim)
                self._kills.append(time.time())
                os.kill(victim, signal.SIGKILL)
            waiting = [Load(gateway, api, [PATIENT], "--concurrency", str(WAITING)) for api in self.apis]
            with contextlib.ExitStack() as stalled:
                floods = [stalled.enter_context(_flood(gateway, api, "chat")) for api in self.apis]
                self._work(gateway, number, pause, more=WAITING * len(self.apis) + len(floods))
                crew = workers(gateway.pid)
                self._stopped = time.time()
                gateway.stop()
                eventually(lambda: not is_running(gateway.pid), DRAIN + CUT_AFTER + MARGIN, "the end after SIGTERM")
                took = time.time() - self._stopped
                complete = [flood for flood in floods if _read_rest(flood).endswith(b"0\r\n\r\n")]
            self._end(loads, signal.SIGINT)
            self._end(waiting, signal.SIGINT)
            assert not complete, "an answer that nobody read looks complete"
            assert not [pid for pid in crew if is_running(pid)], "the gateway has ended, some of its workers have not"
        told = Counter(one.line["error"] for one in self.outcomes if one.model == PATIENT and one.line["status"])
        assert told, "no client was waiting"
        assert not {"closed", "reset"} & told.keys(), told
        print(f"{kills} kills among {number} workers; the end came {took:.2f} s after SIGTERM; told: {dict(told)}")
        assert sum("ended with status -9" in line for line in gateway.log) == kills

    def _work(self, gateway: Gateway, number: int, pause: float, more: int = 0) -> None:
        """Wait until every worker has clients, and a quarter of all and ``more`` are connected; then pause."""

        def are_busy() -> bool:
            clients = [len(peers(pid, gateway.port)) for pid in workers(gateway.pid) or {gateway.pid}]
            return len(clients) == number and all(clients) and sum(clients) >= self.streams / 4 + more

        eventually(are_busy, PATIENCE, "clients of every worker")
        time.sleep(pause)


def _flood(gateway: Gateway, api: str, vendor: str) -> socket.socket:
    """Return a connection with the begin of a large answer, which no client reads."""
    wire = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
    wire.sendall(post(PATHS[api], question(api, f"{FLOOD}-{vendor}", stream=True)))
    wire.recv(100)
    return wire


def _read_rest(wire: socket.socket) -> bytes:
    """Return the end of what came before the connection closed."""
    tail = b""
    with contextlib.suppress(ConnectionResetError):
        while data := wire.recv(2**20):
            tail = (tail + data)[-100:]
    return tail


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of mixed streams (60)")
    parser.add_argument("--streams", type=int, default=200, help="mixed clients at once (200)")
    parser.add_argument("--concurrent", type=int, default=0, help="paced streams afterwards (0)")
    parser.add_argument("--kills", type=int, default=0, help="of workers, by SIGKILL, afterwards (0)")
    asked = parser.parse_args()
    Soak(asked.streams).run_mixed(asked.seconds)
    if asked.concurrent:
        Soak(asked.streams).run_paced(asked.concurrent)
    Soak(asked.streams).run_signals(1)
    Soak(asked.streams).run_signals(2, asked.kills)
    print("nothing is left")


if __name__ == "__main__":
    main()
