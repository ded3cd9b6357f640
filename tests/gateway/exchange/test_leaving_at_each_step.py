"""Before any step of the gateway's tasks, a client may leave, its provider's connections may break, or a configuration
may replace another. Nothing of the request stays, and its one log line states its end and its cost."""

import contextlib
import contextvars
import itertools
import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import attrs
import h11
import pytest
import trio
import trio.testing

from gateway.config_files.loading import from_mapping
from gateway.open_store import open_store
from tests.support.asgi_app import eventually
from tests.support.cases import case
from tests.support.combined import BUDGET, KEY, check_budget
from tests.support.features import rows_of
from tests.support.in_process import InProcess, gateway
from tests.support.played_provider import PlayedProvider, entry, played_provider
from tests.support.settled import lines
from tests.support.task_steps import living_tasks
from tests.support.traffic import reset
from tests.support.wire_clients import body_of, path_of

IS_GATEWAYS: Final = contextvars.ContextVar("IS_GATEWAYS", default=False)
"""True in the tasks of the gateway."""
LAST_WORDS: Final = {"chat": b"[DONE]", "messages": b"message_stop", "responses": b"response.completed"}


@attrs.frozen
class Course:
    """A request in ``api`` for a name with two targets. The first one behaves as ``act``.

    ``first``, ``route`` and ``more`` are members of the first target's entry, of the name and of the configuration.
    ``end`` is the log line's end if the request is not left."""

    api: str = "chat"
    stream: bool = True
    act: str = "well"
    first: Mapping[str, Any] = {}
    route: Mapping[str, Any] = {}
    more: Mapping[str, Any] = {}
    end: tuple[int, str] = (200, "complete")


STEP: Final = {"use": "regex", "at": ["during"], "with": {"patterns": {"word": "Hi|two"}}}
COURSES: Final[Mapping[str, Course]] = {
    "whole": Course(stream=False),
    "translated": Course("messages"),
    "stored": Course("responses"),
    "unanswered": Course("messages", act="no answer", stream=False),
    "hedged": Course(act="silent once", route={"hedge": {"after": "1ms", "at_most": "100%"}}),
    "finished": Course(first={"on_disconnect": "finish"}),
    **dict(rows_of("answer_cache", ("cached", Course(route={"cache": {"ttl": "1ms"}})))),
    **dict(rows_of("joined", ("joined", Course(more={"repeats": {"join": "1ms"}})))),
    **dict(rows_of("steps", ("refused", Course(more={"steps": [STEP]}, end=(400, "refused"))))),
}


class AtStep(trio.abc.Instrument):
    """Calls ``act`` before the gateway's step ``number``."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.steps_left = number
        self._act = act

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.steps_left and task.context.get(IS_GATEWAYS):
            self.steps_left -= 1
            if not self.steps_left:
                with contextlib.suppress(OSError):  # the connection is already closed
                    self._act()


@attrs.frozen
class Place:
    """A gateway with the configuration ``content``, and its ``provider``."""

    running: InProcess
    provider: PlayedProvider
    content: Mapping[str, Any]

    def close(self, client: socket.socket) -> None:
        client.close()

    def reset(self, client: socket.socket) -> None:
        reset(client)

    def break_provider(self, client: socket.socket) -> None:
        self.provider.break_connections()

    def reload(self, client: socket.socket) -> None:
        self.running.reload({**self.content, "keep_alive": f"{next(PERIODS)}s"})


PERIODS: Final = itertools.cycle((14, 16))
WAYS: Final = {"client": (Place.close, Place.reset), "others": (Place.break_provider, Place.reload)}


@pytest.mark.parametrize("who", WAYS)
@pytest.mark.parametrize("name", COURSES)
async def test_nothing_stays_of_a_request_that_is_left_at_any_step(name, who, caplog):
    course, price = COURSES[name], {"price": {"input": 1, "output": 2}}
    async with played_provider() as provider:
        provider.pauses = True
        content = {
            "version": "v0.4.0",
            "model_providers": [
                entry(provider, "chat", "first", **price, **course.first), entry(provider, "chat", "second", **price),
            ],
            "model_aliases": {"m": {"targets": ["first", "second"], "sticky": False, **course.route}},
            "client_keys": [{"name": "alice", "key": KEY, "budgets": [BUDGET], "limits": {"in_flight": 1}}],
            **course.more,
        }  # fmt: skip
        mark = IS_GATEWAYS.set(True)
        async with gateway(content, store=await open_store(from_mapping(content))) as running:
            IS_GATEWAYS.reset(mark)
            with lines(running) as found:
                for number in itertools.count(1):
                    with case(number):
                        way, place = WAYS[who][number % 2], Place(running, provider, content)
                        if not await _leave_at_step(number, way, course, place, found):
                            break
            await check_budget({"caller": "key"}, running, found)
    assert [one for one in caplog.records if one.exc_info or one.levelno >= logging.ERROR] == []


async def _leave_at_step(
    number: int, way: Callable[[Place, socket.socket], None], course: Course, place: Place, found: list[Any]
) -> bool:
    """Send a request that is left at the step ``number``, and check its end. Return whether it came to that step."""
    place.running.clock.now += 60  # no earlier failure counts
    place.provider.reset(first=course.act)
    before, answer = len(found), b""
    stream = await trio.open_tcp_stream("127.0.0.1", int(place.running.url.rpartition(":")[2]))
    at_step = AtStep(number, partial(way, place, stream.socket))
    trio.lowlevel.add_instrument(at_step)
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(_request(course))
            while data := await stream.receive_some():
                answer += data
    trio.lowlevel.remove_instrument(at_step)
    await trio.testing.wait_all_tasks_blocked()  # the gateway may not have accepted the connection yet
    await eventually(lambda: not any(_remains(place.running)))
    if way in WAYS["client"] and not at_step.steps_left:
        ends, has_arrived = {(499, "client_disconnected"), course.end}, bool(place.provider.asked)
    else:
        status, has_arrived = _status_of(answer), True
        is_whole = not course.stream or LAST_WORDS[course.api] in answer or status >= 400
        ends = {course.end if is_whole and status == course.end[0] else (status, "upstream_error")}
    await eventually(lambda: len(found) > before or not has_arrived)
    settled = [(line["status"], line["ended"]) for line in found[before:]]
    assert settled in [[end] for end in ends] or not (settled or has_arrived), json.dumps(found[before:])
    return not at_step.steps_left


def _request(course: Course) -> bytes:
    body = json.dumps(body_of(course.api, "m", stream=course.stream)).encode()
    path = path_of(course.api, "m", stream=course.stream)
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-trigate-key: {KEY}\r\nconnection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _status_of(answer: bytes) -> int:
    """Return the status of a response. Raises ``h11.RemoteProtocolError`` if it is incomplete."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(answer)
    connection.receive_data(b"")
    head = connection.next_event()
    assert isinstance(head, h11.Response), answer
    while not isinstance(connection.next_event(), h11.EndOfMessage):
        pass
    return head.status_code


def _remains(running: InProcess) -> Iterator[object]:
    """Yield what requests occupy."""
    service = running.service
    yield from (service.ledger.open_records, service.lifecycle.in_flight, service.upstream.stats().active)
    yield from (service.admission.shares.used["in_flight"], service.admission.shares.bodies.held)
    for task in living_tasks():
        yield task.context.get(IS_GATEWAYS) and task.name.endswith(("._serve_one", "._run_apps"))
