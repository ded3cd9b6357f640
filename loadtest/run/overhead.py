"""Measures the overhead of the load tester, so that it is not mistaken for the server's."""

import re
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec
import trio

from loadtest.exchange.content import read_answer
from loadtest.exchange.exchange import LoadTarget, TimedExchange
from loadtest.figures.histogram import Histogram
from loadtest.plan.load_request import LoadRequest
from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import OutgoingRequest
from loadtest.wire.connections import ConnectionRules, Connections
from loadtest.wire.read_loop import READ

TICK = 0.02
"""Seconds between two checks of the event loop's lag."""

_STREAMS, _EVENTS, _PAUSE = 20, 30, 0.01
_PATIENCE = 10.0
_STAMP = re.compile(rb'"content":"([0-9.]+)"')


class Lag:
    """The lag of this process. Every latency of the run may be too high by it."""

    def __init__(self) -> None:
        self.histogram = Histogram()
        self._worst = 0.0

    def take_worst(self) -> float:
        """Return the greatest lag since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst

    async def watch(self) -> None:
        """Check the lag until cancelled. A late check counts for all checks that it delayed."""
        due = trio.current_time() + TICK
        while True:
            await trio.sleep_until(due)
            now = trio.current_time()
            self._worst = max(self._worst, now - due)
            while due <= now:
                self.histogram.add(now - due)
                due += TICK


@attrs.frozen
class SelfTest:
    """The cost of streams from a minimal server in this process: CPU seconds per stream and per event, and the
    delay from sending to reading an event in seconds."""

    stream: float
    event: float
    delay_p50: float
    delay_p99: float


async def self_test() -> SelfTest:
    """Measure the cost of streams, in half a second."""
    single, _ = await _measure_streams(1)
    whole, delays = await _measure_streams(_EVENTS)
    event = max(0.0, whole - single) / (_STREAMS * (_EVENTS - 1))
    return SelfTest(single / _STREAMS, event, delays.percentile(50), delays.percentile(99))


async def _measure_streams(events: int) -> tuple[float, Histogram]:
    """Return the CPU seconds of this thread for some streams, and the delays of their events."""
    with socket.create_server(("127.0.0.1", 0), backlog=_STREAMS) as listening:
        listening.settimeout(_PATIENCE)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        connections = Connections(await ServerAddress.resolve(url), None, ConnectionRules(keep=False))
        server, request = LoadTarget(connections, timeout=_PATIENCE), OutgoingRequest("/", (), b"{}")
        ahead = trio.current_time() - time.perf_counter()
        exchanges = [TimedExchange(LoadRequest("self-test"), "reads", trio.current_time()) for _ in range(_STREAMS)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: trio.to_thread.run_sync(_serve_streams, listening, events, abandon_on_cancel=True)
            )
            cpu = time.thread_time()
            async with trio.open_nursery() as clients:
                for exchange in exchanges:
                    clients.start_soon(exchange.run, server, request)
            cpu = time.thread_time() - cpu
    delays = Histogram()
    for exchange in exchanges:
        exchange.apply_reading(read_answer("chat", exchange.body, streamed=True))
        sent = map(float, _STAMP.findall(exchange.body))
        delays.extend([seen - ahead - at for seen, at in zip(exchange.contents, sent, strict=False)])
    return cpu, delays


def _timed_event() -> bytes:
    """Return an event with its time of creation."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%.7f"}}]}\n\n' % time.perf_counter()
    return b"%x\r\n%b\r\n" % (len(event), event)


def _serve_streams(listening: socket.socket, events: int) -> None:
    """Send all streams in parallel, one event at a time."""
    peers: list[socket.socket] = []
    try:
        for _ in range(_STREAMS):
            peer, _ = listening.accept()
            peers.append(peer)
            peer.settimeout(_PATIENCE)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.recv(READ)
            peer.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(events):
            time.sleep(_PAUSE)
            for peer in peers:
                peer.sendall(_timed_event())
        for peer in peers:
            peer.sendall(b"0\r\n\r\n")
    except OSError:
        return  # the loader was interrupted
    finally:
        for peer in peers:
            peer.close()


@attrs.frozen
class Overhead:
    """The load tester's own figures. ``lag`` is that of its event loop, ``late`` how late requests began, and ``cpu``
    the part of a core that it used.

    For several processes, ``parts`` has the figures of each by name. ``lag`` and ``late`` cover all of them, ``cpu``
    is the sum, ``apart`` the seconds between the first and the last begin, and ``lost`` lists the processes that
    failed and why.
    """

    lag: Histogram
    late: Histogram
    cpu: float
    self_test: SelfTest | None = None
    parts: Mapping[str, "Overhead"] = attrs.field(factory=dict)
    apart: float = 0.0
    lost: Sequence[str] = ()

    @classmethod
    def of_parts(
        cls, parts: Mapping[str, "Overhead"], lag: Histogram, late: Histogram, apart: float, lost: Sequence[str]
    ) -> "Overhead":
        """Return the combined figures of several processes, with the slowest self-test."""
        tests = [part.self_test for part in parts.values() if part.self_test is not None]
        slowest = max(tests, key=lambda test: test.event, default=None)
        return cls(lag, late, sum(part.cpu for part in parts.values()), slowest, parts, apart, lost)

    @property
    def processes(self) -> Mapping[str, "Overhead"]:
        """The figures of each process by name; "" for a single process."""
        return self.parts or {"": self}

    def dump(self) -> dict[str, Any]:
        test = None if self.self_test is None else attrs.asdict(self.self_test)
        return {
            "lag": self.lag.dump(),
            "late": self.late.dump(),
            "cpu": self.cpu,
            "self_test": test,
            "apart": self.apart,
            "lost": list(self.lost),
            "processes": {name: part.dump() for name, part in self.parts.items()},
        }

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> "Overhead":
        """Read the result of ``dump``. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        lag, late = Histogram.load(value["lag"]), Histogram.load(value["late"])
        return cls(
            lag,
            late,
            float(value["cpu"]),
            msgspec.convert(value["self_test"], SelfTest | None),
            {str(name): cls.load(part) for name, part in value.get("processes", {}).items()},
            float(value.get("apart", 0.0)),
            tuple(map(str, value.get("lost", ()))),
        )
