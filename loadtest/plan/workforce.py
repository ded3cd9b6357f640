"""The processes that make a load, as a scenario and its options name them."""

import os
import re
from typing import Any, Final, NewType

from configfile.wording import Wrong, describe
from gateway.config.converter import converter

Processes = NewType("Processes", int)
Workers = NewType("Workers", tuple[str, ...])  # host:port each

ONE, NOBODY = Processes(1), Workers(())
MOST: Final = 256
WORKER_PORT: Final = 7071

_ADDRESS = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(?::(\d{1,5}))?")


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def processes(value: Any, _: Any = None) -> int:
    """A number, or all cores but one (``auto``), which is left for the server or for what else there is."""
    if value == "auto":
        return max(1, cores() - 1)
    number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,4}", value) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MOST:
        raise Wrong(describe(number), f"this must be a number of processes, 1 to {MOST}, or auto: one less than cores")
    return number


def workers(value: Any, _: Any = None) -> tuple[str, ...]:
    """Addresses in a list, or with commas between them; each with its port."""
    said = value.split(",") if isinstance(value, str) else value
    if not isinstance(said, list | tuple) or not all(isinstance(one, str) for one in said):
        raise Wrong(describe(value), "this must be a list of host:port")
    found = tuple(worker(one.strip()) for one in said)
    if len(set(found)) < len(found):
        raise Wrong("a worker that is named twice", "name each once; --processes says how many each of them starts")
    return found


def worker(said: str, least: int = 1) -> str:
    """One address, whose port is at ``least`` that."""
    match = _ADDRESS.fullmatch(said)
    port = int(match[2] or WORKER_PORT) if match else -1
    if match is None or not least <= port <= 65535:
        raise Wrong(describe(said), "this must be host:port, as 10.0.0.5:7071")
    return f"{match[1]}:{port}"


converter.register_structure_hook(Processes, processes)
converter.register_structure_hook(Workers, workers)
