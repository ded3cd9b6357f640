"""Many simultaneous streams through one worker: memory per stream, CPU time per event, and lateness of events."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cases import Case
from servers import Standing, capable, cpu, memory, run_servers

GAP = 0.5  # seconds between the events of a stream
CASES = tuple(
    Case(f"crowd{name}", path, events=10**6, gap=GAP)
    for name, path in (("", "/v1/chat/completions"), ("-translated", "/v1/messages"))
)


class Lateness(NamedTuple):
    """Milliseconds from the provider's write to the client's read, over ``events`` events."""

    events: int
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, late: Sequence[float]) -> "Lateness":
        found = sorted(1000 * each for each in late)
        return cls(len(found), found[len(found) // 2], found[len(found) * 99 // 100], found[-1])


class Crowd(NamedTuple):
    """The measurement of many streams.

    ``memory`` is MiB of the server with all streams, ``memory_stream`` KiB per stream, ``cpu_event`` the server's
    microseconds per event once all streams had begun, which took ``begin`` seconds. The first three are 0 without a
    server between clients and provider.
    """

    case: str
    server: str
    streams: int
    memory: float
    memory_stream: float
    cpu_event: float
    begin: float
    beginning: Lateness
    steady: Lateness


def crowd(stand: Standing, streams: int, rounds: int, seconds: float, direct: bool = False) -> Crowd:
    """Measure the least CPU time of ``rounds`` rounds of ``seconds``, and the lateness of all events."""
    options = ("--clients", streams, "--seconds", seconds, "--rounds", rounds)
    command = stand.clients("crowd", stand.provider_port if direct else stand.port, *options)
    before = memory(stand.pid)
    costs, late = [], []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        first = read_report(process)
        used = cpu(stand.pid)
        for _ in range(rounds):
            heard = read_report(process)["late"]
            now = cpu(stand.pid)
            costs.append((now - used) / len(heard))
            used = now
            late += heard
        held = memory(stand.pid)
        process.communicate()
    phases = (first["seconds"], Lateness.of(first["late"]), Lateness.of(late))
    if direct:
        return Crowd(stand.case.name, "no gateway", streams, 0, 0, 0, *phases)
    each = (held - before) * 1024 / streams
    return Crowd(stand.case.name, stand.server, streams, held, each, min(costs) * 1e6, *phases)


def read_report(process: "subprocess.Popen[bytes]") -> Any:
    """Return the next report of the clients."""
    assert process.stdout is not None
    if line := process.stdout.readline():
        return json.loads(line)
    return sys.exit("the streams did not last: see above")


def crowds(streams: int, peers: Sequence[str], rounds: int, seconds: float) -> Iterator[Crowd]:
    """Measure the clients directly at the provider, then through each server."""
    for case in CASES:
        for i, server in enumerate(capable(case, peers)):
            with run_servers(case, server) as stand:
                if case is CASES[0] and not i:
                    yield crowd(stand, streams, rounds, seconds, direct=True)
                yield fresh(stand, streams, rounds, seconds)


def fresh(stand: Standing, streams: int, rounds: int, seconds: float) -> Crowd:
    """Measure after a few streams, which load everything that a server loads once."""
    crowd(stand, 16, 1, 0.2)
    return crowd(stand, streams, rounds, seconds)


HEADS = ("case", "", "streams", "KiB a stream", "CPU µs an event", "all begun after s",
         "late in ms while they begin: p50", "p99", "most", "late in ms later: p50", "p99", "most")  # fmt: skip


def row(one: Crowd) -> list[str]:
    """Return a row of the table."""
    late = [f"{each:.1f}" for phase in (one.beginning, one.steady) for each in phase[1:]]
    used = [f"{one.memory_stream:.0f}", f"{one.cpu_event:.0f}"] if one.cpu_event else ["-", "-"]
    return [one.case, one.server, str(one.streams), *used, f"{one.begin:.1f}", *late]
