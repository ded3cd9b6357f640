"""The table of features, with rows missing, and the tasks of features."""

from typing import Any, cast

import pytest
import trio
import trio.testing

from gateway.http.response import Response
from gateway.open_features import RunningFeatures
from gateway.seams.running import Running
from gateway.serving.route_table import READING, RouteTable
from tests.support.command_line import invoke
from tests.support.features import needs_feature
from tests.support.harness import config, provider, with_ports
from tests.support.quick_yaml import dump_yaml


@needs_feature("secret_stores")
@pytest.mark.parametrize("command", [["check", "--secrets"], ["doctor", "--config"]])
def test_a_secret_in_a_store_is_a_mistake_if_no_feature_reads_it(monkeypatch, tmp_path, command):
    monkeypatch.setattr("gateway.open_features.features", tuple)
    key = {"vault": "secret/trigate#openai"}
    vault = {"url": "http://127.0.0.1:9", "token": "t"}
    content = config([provider("openai/up", "http://127.0.0.1:9", key=key)], secret_stores={"vault": vault})
    (file := tmp_path / "trigate.yaml").write_text(dump_yaml(with_ports(content)[0]))
    found = invoke(*command, str(file))
    assert found.returncode == 1
    assert "no feature of this gateway reads the secret vault secret/trigate#openai" in found.stdout + found.stderr
    assert "use files or variables" in found.stdout + found.stderr
    assert "Traceback" not in found.stdout + found.stderr


class Noted(Running):
    """A feature whose tasks belong to ``owner``, and note their beginning and end."""

    has_tasks = True

    def __init__(self, owner: object, noted: list[str]) -> None:
        self.owner = owner
        self.noted = noted

    @property
    def lasting(self) -> object:
        return self.owner

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        self.noted.append(f"{self.owner} begins")
        task_status.started()
        await ending.wait()
        self.noted.append(f"{self.owner} ends")


async def test_tasks_continue_until_a_configuration_has_others():
    noted: list[str] = []
    running = RunningFeatures()
    async with trio.open_nursery() as nursery:
        running.use({"one": Noted("a", noted), "two": Noted("b", noted)})
        await running.start(nursery)
        running.use({"one": Noted("a", noted), "two": Noted("c", noted)})
        await running.start(nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert (noted[:2], sorted(noted[2:])) == (["a begins", "b begins"], ["b ends", "c begins"])
        await running.finish()
    assert noted[4:] == ["c ends", "a ends"]


async def test_what_was_replaced_still_finishes_and_the_end_keeps_the_order_of_features():
    noted: list[str] = []
    running = RunningFeatures()

    class Slow(Noted):
        """A feature whose tasks run for a while after ``ending``, like steps until their last request."""

        async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            await ending.wait()
            await finishing.wait()
            self.noted.append(f"{self.owner} ends")

    finishing = trio.Event()
    async with trio.open_nursery() as nursery:
        running.use({"one": Slow("a", noted), "two": Noted("b", noted)})
        await running.start(nursery)
        running.use({"one": Noted("c", noted), "two": Noted("b", noted)})
        await running.start(nursery)
        nursery.start_soon(running.finish)
        await trio.testing.wait_all_tasks_blocked()
        assert noted == ["b begins", "c begins", "b ends", "c ends"], "in reverse order, also after a change"
        nursery.cancel_scope.deadline = trio.current_time() + 60
        finishing.set()
        await trio.testing.wait_all_tasks_blocked()
        assert noted[4:] == ["a ends"]


async def test_each_feature_runs_and_ends_once_with_quick_reloads():
    noted: list[str] = []
    running = RunningFeatures()
    async with trio.open_nursery() as nursery:
        for features in ({"one": Noted("a", noted), "two": Noted("b", noted)}, {"one": Noted("c", noted)}, {}):
            running.use(features)
            nursery.start_soon(running.start, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(noted) == [f"{one} {what}" for one in "abc" for what in ("begins", "ends")]
        assert noted.index("b begins") < noted.index("c begins")
        await running.finish()


def test_the_first_route_of_a_path_is_used():
    async def kernel() -> Response:
        return Response(200, ())

    async def feature(**names: str) -> Response:
        return Response(404, ())

    routes = RouteTable()
    for path, handler in (("/health", kernel), ("/health", feature), ("/v1/{id}", kernel), ("/v1/{name}", feature)):
        routes.add(path, handler, READING)
    assert routes.exact("GET", "/health") is kernel
    assert cast("Any", routes.find("GET", "/v1/x")).func is kernel
