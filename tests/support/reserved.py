"""Comparisons of a reservation with the bytes that a provider receives.

A recording provider holds its response while ``compare`` reads what the client has reserved."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import trio

from tests.support.asgi_app import eventually
from tests.support.endpoint_provider import EndpointProvider, ReceivedRequest, ScriptedAnswer, json_answer
from tests.support.features import members_of
from tests.support.in_process import InProcess
from tests.support.multipart import KIND


def key_of(client: str) -> str:
    return f"key-of-{client}-0123456789-0123456789"


def head_of(client: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key_of(client)}"}


KEY: Final = key_of("ann")
HEAD: Final = head_of("ann")
UNITS: Final = {"image": 1.0, "character": 0.001, "second": 0.01, "search": 2.0, "page": 3.0}


def limit_clients(*names: str) -> dict[str, Any]:
    """Return the settings that limit these clients, each with limits of its own."""
    budgets = ["1000M tokens/day", "1000000 usd/day"]
    rights = members_of("pass_through", passthrough=["mine"])
    limits = {"budgets": budgets, "ratelimits": {"requests": "100/d"}, **rights}
    return {"reserve": "max", "client_keys": [{"name": name, "key": key_of(name), **limits} for name in names]}


LIMITED: Final = limit_clients("ann")
CLIENTS: Final = tuple(f"client-{number}" for number in range(60))
"""Clients for one request each, because the rate of requests allows no second one."""
LIMITED_CLIENTS: Final = limit_clients(*CLIENTS)

Body = Mapping[str, Any]


@attrs.frozen
class Expected:
    """The possible cost of a received request: ``output`` tokens, ``units``, and ``input`` tokens unless by size."""

    output: int = 0
    units: Mapping[str, int] = attrs.field(factory=dict)
    input: int | None = None


Oracle = Callable[[ReceivedRequest], Expected]


@attrs.frozen
class Sent:
    """A request to ``path``: ``json`` or a ``form``."""

    path: str
    expected: Oracle
    json: Body | None = None
    form: bytes = b""
    label: str = ""

    def arguments(self, client: str) -> dict[str, Any]:
        """Return the arguments of a request by ``client``."""
        if self.json is not None:
            return {"json": self.json, "headers": head_of(client)}
        return {"content": self.form, "headers": {**head_of(client), "content-type": KIND}}


class Levels:
    """The amounts that a client has reserved and used."""

    def __init__(self, served: InProcess, client: str = "ann") -> None:
        self._allowances = served.service.allowances
        self._client = client

    def _levels(self, which: str) -> Mapping[str, float]:
        found = {}
        for one in self._allowances.of_client(self._client):
            counter = one.counter(self._allowances.now(), None)
            assert counter is not None
            found[one.measure] = getattr(self._allowances.counters.level(counter), which)
        return found

    @property
    def held_amounts(self) -> Mapping[str, float]:
        return self._levels("held")

    @property
    def used_amounts(self) -> Mapping[str, float]:
        return self._levels("used")


class HeldProvider:
    """A provider that rejects each request once it is ``released``, or has another ``answer``."""

    def __init__(self, answer: ScriptedAnswer | None = None) -> None:
        self.released = trio.Event()
        self._answer = answer or json_answer({"error": {"message": "no"}}, 400)

    async def __call__(self, received: ReceivedRequest) -> ScriptedAnswer:
        await self.released.wait()
        return self._answer


def input_tokens(received: ReceivedRequest, expected: Expected) -> int:
    return max(1, len(received.body) // 4) if expected.input is None else expected.input


def dollars(expected: Expected) -> int:
    return round(sum(UNITS[unit] * number for unit, number in expected.units.items()) * 10**9)


async def compare(
    served: InProcess,
    provider: EndpointProvider,
    held: HeldProvider,
    sent: Sent,
    client_name: str = "ann",
    *,
    leaves: bool,
) -> None:
    """Send a request; compare its reservation with the received bytes, and its charge if the client leaves."""
    levels, held.released = Levels(served, client_name), trio.Event()
    used, number = levels.used_amounts, len(provider.asked)
    async with trio.open_nursery() as nursery:
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await served.post(sent.path, **sent.arguments(client_name))).status_code)

        nursery.start_soon(ask)
        await eventually(lambda: bool(statuses) or len(provider.asked) > number)
        assert not statuses, "the provider must receive the request"
        received = provider.asked[-1]
        expected = sent.expected(received)
        tokens = input_tokens(received, expected)
        assert levels.held_amounts["tokens"] == tokens + expected.output
        assert levels.held_amounts["usd"] == dollars(expected)
        assert levels.used_amounts["requests"] == 1
        if leaves:
            nursery.cancel_scope.cancel()
        else:
            held.released.set()
    held.released.set()
    await eventually(lambda: not levels.held_amounts["tokens"])
    assert levels.used_amounts["tokens"] - used["tokens"] == (tokens if leaves else 0)
    assert levels.used_amounts["usd"] - used["usd"] == (dollars(expected) if leaves else 0)
