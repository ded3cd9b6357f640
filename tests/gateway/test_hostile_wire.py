"""Random traffic on all routes: whatever a provider sends and however a client leaves, nothing of it stays behind.

Each exchange has one line in the log, which is no error of the gateway.
"""

import random
from collections import Counter
from typing import Any, Final

import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.bare_provider import listening
from tests.support.every_route import ROUTES_KEY, ServedRoute, ordinary_request, served_routes, settings
from tests.support.features import has_feature, rows_of
from tests.support.harness import PATIENCE
from tests.support.hostile_wire import HostileWire
from tests.support.in_process import gateway
from tests.support.metrics_page import Numbers, metrics_of, page_of

ROUTES: Final = [one for one in served_routes() if "events" not in one.path]  # those of pages never end
CLIENTS, REQUESTS = 10, 8
LIMITS: Final[dict[str, Any]] = {
    "timeouts": {"idle": "200ms", "first_byte": "400ms"},
    "circuit": {"cooldown": "20ms", "longest": "50ms"},
}
STEPS: Final = [{"use": "pii", "at": ["request", "response"], "action": "report"}, {"use": "secrets"}]
PAUSES: Final = (0, 0.001, 0.005, 0.02, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [*rows_of("steps", STEPS), pytest.param([], marks=pytest.mark.soak)], ids=str)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 12))])
async def test_nothing_of_random_traffic_stays(seed, steps, caplog, exchanges):
    dice = random.Random(seed)
    provider = HostileWire(random.Random(seed))
    async with (
        listening(provider.serve) as url,
        gateway(settings(url, 9, **LIMITS, **({"steps": steps} if steps else {}))) as served,
    ):
        port = int(served.url.rpartition(":")[2])
        async with trio.open_nursery() as nursery:
            for client in range(CLIENTS):
                nursery.start_soon(send_requests, port, f"client-{client}", random.Random(dice.random()))
        await eventually(lambda: not served.service.lifecycle.connections)
        await eventually(lambda: served.service.upstream.stats().active == 0)
        page = Numbers(page_of(metrics_of(served.service)) if has_feature("metrics") else "")
    lines = exchanges.lines
    assert [line for line in lines if line["ended"] == "internal_error"] == []
    assert [id for id, count in Counter(line["request_id"] for line in lines).items() if count > 1] == []
    assert [one.getMessage() for one in caplog.records if one.exc_info] == []
    for labels in page.labels("trigate_exchanges_in_flight"):
        assert page("trigate_exchanges_in_flight", **labels) == 0, labels


async def send_requests(port: int, name: str, dice: random.Random) -> None:
    """Send requests to random routes, and leave before some of the responses."""
    for number in range(REQUESTS):
        route = dice.choice(ROUTES)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            with trio.fail_after(2 * PATIENCE):
                await stream.send_all(request_bytes(route, f"{name}-{number}"))
                if dice.random() < 0.2:
                    await trio.sleep(dice.choice(PAUSES))
                    continue
                while await stream.receive_some():
                    pass


def request_bytes(route: ServedRoute, id: str) -> bytes:
    body = ordinary_request(route)
    fields = {
        **body.headers, "host": "x", "authorization": f"Bearer {ROUTES_KEY}", "x-request-id": id,
        "connection": "close", "content-length": str(len(body.data)),
    }  # fmt: skip
    lines = (f"{route.method} {route.url} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", "")
    return "\r\n".join(lines).encode() + body.data
