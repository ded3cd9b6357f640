"""Limits of a machine that a load would meet, said before it begins."""

import contextlib
import ipaddress
import math
from pathlib import Path
from typing import Final

import attrs

from loadtest.plan.scenario import Scenario

TIME_WAIT: Final = 60.0
"""Seconds for which Linux keeps the port of a connection that was closed here (TCP_TIMEWAIT_LEN; no setting)."""

REUSED: Final = 1.0
"""Seconds after which it gives such a port to a new connection, where ``tcp_tw_reuse`` lets it."""

OWN_FILES: Final = 64
"""Files that a process has open beside its connections."""

_IPV4: Final = Path("/proc/sys/net/ipv4")


@attrs.frozen
class PortRange:
    """The ports of connections to one address: ``least`` to ``most``, each held for ``wait`` seconds after its use."""

    least: int
    most: int
    wait: float = TIME_WAIT

    @property
    def count(self) -> int:
        return self.most - self.least + 1

    @property
    def rate(self) -> float:
        """New connections a second to one address that there is always a port for."""
        return self.count / self.wait

    @classmethod
    def here(cls, address: str, system: Path = _IPV4) -> "PortRange | None":
        """That of this machine for connections to ``address``; ``None`` where the system does not say."""
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
    """Connections a second that an open loop opens anew at its highest rate: all of them, or those of clients that go
    away or read slowly. 0 in a closed loop: there the server sets the pace."""
    highest = max((max(step.rate, step.to or 0.0) for step in plan.steps), default=0.0)
    if plan.connections == "new":
        return highest
    weights = sum(request.weight for request in plan.requests)
    ended = sum(request.weight * min(1.0, request.cancels + request.slows) for request in plan.requests)
    return highest * ended / weights


def port_note(plan: Scenario, ports: PortRange | None, addresses: int, machines: int) -> str | None:
    """What a reader has to know of the ports before the load; ``addresses`` are those of the target."""
    if ports is None:
        return None
    rate, least = new_connections(plan) / machines, ports.rate * max(1, addresses)
    if rate <= least:
        return None
    lasts = ports.count * max(1, addresses) / rate
    return (
        f"{rate:.0f} new connections a second to one address need more ports than there are: {ports.count} "
        f"({ports.least} to {ports.most}), each taken for {ports.wait:.0f} s after its use, are enough for "
        f"{int(least)} a second. After {lasts:.0f} s there may be none left. Keep connections, widen "
        "net.ipv4.ip_local_port_range, or load from several machines."
    )


def most_files() -> int | None:
    """Files that a process may have open, once it has raised its limit; ``None`` without one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if most == resource.RLIM_INFINITY else most
    return None


def file_mistake(concurrency: int, processes: int, most: int | None) -> tuple[str, str] | None:
    """What was found and what is expected, if so many clients have no room in so many processes of this machine."""
    if most is None or (needed := math.ceil(concurrency / processes) + OWN_FILES) <= most:
        return None
    if not concurrency:
        found = f"this process may have {most} open files, and a load needs {needed} at least"
        return found, f"raise the limit: ulimit -n {needed}"
    room = max(0, most - OWN_FILES)
    return (
        f"{concurrency} clients, which need {needed} open files in a process that may have {most}",
        f"raise the limit (ulimit -n {needed}), give at most {room * processes}, or more --processes",
    )
