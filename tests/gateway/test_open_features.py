"""The table of features, with rows missing, and the tasks of features."""

import pytest
import trio
import trio.testing

from gateway.open_features import RunningFeatures
from gateway.seams.running import Running
from tests.support.command_line import invoke
from tests.support.harness import config, provider, with_ports
from tests.support.quick_yaml import dump_yaml


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
        await running.start(nursery, {"one": Noted("a", noted), "two": Noted("b", noted)})
        await running.start(nursery, {"one": Noted("a", noted), "two": Noted("c", noted)})
        await trio.testing.wait_all_tasks_blocked()
        assert (noted[:2], sorted(noted[2:])) == (["a begins", "b begins"], ["b ends", "c begins"])
        await running.finish()
    assert noted[4:] == ["c ends", "a ends"]
