"""Start a load in this process or in several, and check it against the limits of the machine."""

import contextlib
import ipaddress
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from loadtest.crew.channel import crew
from loadtest.crew.shared_run import SharedRun
from loadtest.exchange.judging import open_judge
from loadtest.plan.scenario import Scenario
from loadtest.run.overhead import self_test
from loadtest.run.running import ActiveRun, address_of
from loadtest.run.under_way import LoadUnderWay, RecordSink
from loadtest.wire.address import ServerAddress
from loadtest.wire.connections import raise_file_limit

TIME_WAIT: Final = 60.0
"""Seconds for which Linux keeps the port of a closed connection (TCP_TIMEWAIT_LEN, which is not configurable)."""

REUSED: Final = 1.0
"""Seconds until Linux reuses such a port for a new connection if ``tcp_tw_reuse`` allows it."""

OWN_FILES: Final = 64
"""Files that a process has open besides its connections."""

_IPV4: Final = Path("/proc/sys/net/ipv4")


@attrs.frozen
class PortRange:
    """The local ports for connections to one address: ``least`` to ``most``.

    A port is reusable ``reuse_delay`` seconds after its connection closed.
    """

    least: int
    most: int
    reuse_delay: float = TIME_WAIT

    @property
    def count(self) -> int:
        return self.most - self.least + 1

    @property
    def connections_per_second(self) -> float:
        """The number of new connections a second for which a free port is always available."""
        return self.count / self.reuse_delay

    @classmethod
    def of_this_machine(cls, address: str, system: Path = _IPV4) -> "PortRange | None":
        """Return the port range of this machine for ``address``, or ``None`` if the system does not report one."""
        try:
            least, most = map(int, (system / "ip_local_port_range").read_text().split())
            reuse = int((system / "tcp_tw_reuse").read_text())
        except (OSError, ValueError):
            return None
        reused = reuse == 1 or (reuse == 2 and _is_loopback(address))
        return cls(least, most, REUSED if reused else TIME_WAIT)


def _is_loopback(address: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    return False


def new_connections(plan: Scenario) -> float:
    """Return the highest number of new connections a second in an open loop.

    If connections are kept, only clients that cancel or read slowly need a new one. The result is 0 in a closed loop,
    where the server sets the pace.
    """
    highest = max((max(step.rate, step.to or 0.0) for step in plan.steps), default=0.0)
    if plan.connections == "new":
        return highest
    weights = sum(request.weight for request in plan.requests)
    ended = sum(request.weight * min(1.0, request.cancel_share + request.slow_share) for request in plan.requests)
    return highest * ended / weights


def port_note(plan: Scenario, ports: PortRange | None, addresses: int, machines: int) -> str | None:
    """Return a warning if the load may run out of ports. ``addresses`` is the number of addresses of the target."""
    if ports is None:
        return None
    rate, least = new_connections(plan) / machines, ports.connections_per_second * max(1, addresses)
    if rate <= least:
        return None
    lasts = ports.count * max(1, addresses) / rate
    return (
        f"{rate:.0f} new connections per second to one address need more ports than this machine has: its "
        f"{ports.count} ports ({ports.least} to {ports.most}), each blocked for {ports.reuse_delay:.0f} s after use, "
        f"allow {int(least)} per second. After {lasts:.0f} s, none may be free. Keep connections open, widen "
        "net.ipv4.ip_local_port_range, or use several machines."
    )


def open_file_limit() -> int | None:
    """Return the number of files that a process may have open after it raised its limit, or ``None`` for no limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if most == resource.RLIM_INFINITY else most
    return None


def file_limit_mistake(concurrency: int, processes: int, most: int | None) -> tuple[str, str] | None:
    """Return a problem and its solution if the machine does not allow enough open files for ``concurrency`` clients."""
    if most is None or (needed := math.ceil(concurrency / processes) + OWN_FILES) <= most:
        return None
    if not concurrency:
        found = f"this process may open {most} files, but a load needs at least {needed}"
        return found, f"raise the limit: ulimit -n {needed}"
    room = max(0, most - OWN_FILES)
    return (
        f"{concurrency} clients need {needed} open files, but a process may have only {most}",
        f"raise the limit (ulimit -n {needed}), use at most {room * processes} clients, or more --processes",
    )


Starting: TypeAlias = Callable[[Scenario, str, Sequence[RecordSink]], LoadUnderWay]
"""Start a load of a scenario on the target with this name. All records go to the sinks."""


@contextlib.asynccontextmanager
async def open_load_starter(plan: Scenario, keys: Mapping[str, str | None]) -> AsyncIterator[Starting]:
    """Yield a function that starts loads, one after another. ``keys`` maps target names to API keys.

    Raises ``Unreachable``, ``CrewFailed`` and ``StartTimePassed``; a load may raise them too.
    """
    if plan.processes > 1:
        async with crew(plan.processes) as members:
            yield lambda scenario, target, sinks: SharedRun(
                members, scenario, target, keys[target], sinks, self_test=True
            )
        return
    raise_file_limit()
    addresses = {target: await address_of(plan, target) for target in plan.targets}
    async with open_judge(plan.strict) as judge:
        test = await self_test()
        yield lambda scenario, target, sinks: ActiveRun(
            scenario, target, addresses[target], keys[target], judge, sinks=sinks, self_test=test
        )


# Limits of the machine


def concurrency_mistake(plan: Scenario) -> tuple[str, str] | None:
    """Return a problem and its solution if the processes of this machine cannot serve so many clients, or if the cap is
    too low to give each process a request."""
    if plan.part.of == 1 and plan.is_open_loop and 0 < plan.concurrency < plan.processes:
        found = f"{plan.concurrency} concurrent requests are too few for {plan.processes} processes"
        return found, f"use at least {plan.processes}, or fewer processes"
    return file_limit_mistake(plan.part.count(plan.concurrency), plan.processes, open_file_limit())


async def capacity_notes(plan: Scenario) -> Sequence[str]:
    """Return warnings to print before the load. Raises ``Unreachable``."""
    addresses = [await address_of(plan, target) for target in plan.targets]
    return tuple(dict.fromkeys(note for address in addresses for note in _port_notes(plan, address)))


def _port_notes(plan: Scenario, address: ServerAddress) -> Iterator[str]:
    addresses = {str(address[0]) for _, address in address.addresses}
    ports = PortRange.of_this_machine(min(addresses)) if addresses else None
    if (note := port_note(plan, ports, len(addresses), plan.part.of)) is not None:
        yield note
