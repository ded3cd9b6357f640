"""The processes that a plan asks for: this one alone, or several of this machine."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Protocol

from loadtest.crew.capacity import PortRange, file_mistake, most_files, port_note
from loadtest.crew.members import crew
from loadtest.crew.shared_run import SharedRun
from loadtest.exchange.judging import judging
from loadtest.plan.scenario import Scenario
from loadtest.run.overhead import self_test
from loadtest.run.running import ActiveRun, address_of
from loadtest.run.under_way import RecordSink, StartableLoad
from loadtest.wire.address import ServerAddress
from loadtest.wire.connections import raise_file_limit


class Starting(Protocol):
    """Gets a load on the target of that name ready, in however many processes. All records go to ``sinks``, here."""

    def __call__(self, scenario: Scenario, target: str, sinks: Sequence[RecordSink] = ()) -> StartableLoad: ...


@contextlib.asynccontextmanager
async def loading(plan: Scenario, keys: Mapping[str, str | None]) -> AsyncIterator[Starting]:
    """What makes loads as ``plan`` says, one after the other, until the end of the block. ``keys`` are the targets'.
    Raises ``Unreachable``, ``NoCrew`` and ``TooLate``, which may also come of a load."""
    async with _alone(plan, keys) if plan.processes == 1 else _together(plan, keys) as start:
        yield start


@contextlib.asynccontextmanager
async def _alone(plan: Scenario, keys: Mapping[str, str | None]) -> AsyncIterator[Starting]:
    raise_file_limit()
    places = {target: await address_of(plan, target) for target in plan.targets}
    async with judging(plan.strict) as judge:
        test = await self_test()

        def start(scenario: Scenario, target: str, sinks: Sequence[RecordSink] = ()) -> ActiveRun:
            return ActiveRun(scenario, target, places[target], keys[target], judge, sinks=sinks, self_test=test)

        yield start


@contextlib.asynccontextmanager
async def _together(plan: Scenario, keys: Mapping[str, str | None]) -> AsyncIterator[Starting]:
    async with crew(plan.processes) as members:

        def start(scenario: Scenario, target: str, sinks: Sequence[RecordSink] = ()) -> SharedRun:
            return SharedRun(members, scenario, target, keys[target], sinks, self_test=True)

        yield start


# What a machine cannot do


def concurrency_mistake(plan: Scenario) -> tuple[str, str] | None:
    """What is wrong and what helps, if so many clients have no room in the processes of this machine, or if a cap is
    too low for all processes to send something."""
    if plan.part.of == 1 and plan.open_loop and 0 < plan.concurrency < plan.processes:
        found = f"{plan.concurrency} at once for {plan.processes} processes, which share that out"
        return found, f"give {plan.processes} or more, or fewer processes"
    return file_mistake(plan.part.count(plan.concurrency), plan.processes, most_files())


async def capacity_notes(plan: Scenario) -> Sequence[str]:
    """What is to be told before the load. Raises ``Unreachable``."""
    places = [await address_of(plan, target) for target in plan.targets]
    return tuple(dict.fromkeys(note for place in places for note in _notes(plan, place)))


def _notes(plan: Scenario, place: ServerAddress) -> Iterator[str]:
    addresses = {str(address[0]) for _, address in place.addresses}
    ports = PortRange.here(min(addresses)) if addresses else None
    if (note := port_note(plan, ports, len(addresses), plan.part.of)) is not None:
        yield note
