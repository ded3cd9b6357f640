"""The resources of steps are open as long as the service, and no longer than their last request."""

import gc
import os
import signal
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from configfile.document import ConfigError
from gateway.commands.listening import LOCAL
from gateway.config_files.loading import Config
from gateway.features.steps.loaded import StepSet
from gateway.features.steps.sessions import OpenedSteps
from gateway.open_service import open_service
from gateway.processes.binding import bind
from gateway.reload import ReloadableApp
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from tests.support.command_line import run
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Reply, eventually, free_port, request, running
from tests.support.step_files import HEAD, step_config
from tests.support.upstreams import fake_upstream

CODE = """
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trigate.steps import Finding

LOG, OPEN = Path(__file__).with_name("log"), Path(__file__).with_name("open")

def note(text):
    with LOG.open("a") as log:
        log.write(text + "\\n")

async def check(check):
    return []

@asynccontextmanager
async def pool(settings):
    note(f"open {settings['size']}")
    if settings["size"] == 0:
        raise ConnectionError("no database")
    yield check
    await trio.sleep(0.001)
    note(f"close {settings['size']}")

@asynccontextmanager
async def crashing(settings):
    async with trio.open_nursery() as nursery:
        async def crash():
            await trio.sleep(0.001)
            raise ValueError("crash")
        nursery.start_soon(crash)
        yield check

@asynccontextmanager
async def gate(settings):
    async def check(check):
        note(f"check {settings['label']}")
        while settings["waits"] and not OPEN.exists():
            await trio.sleep(0.002)
        return [Finding(settings["label"], check.passages[0], 0, 1)]

    yield check
    note(f"close {settings['label']}")
"""


def read_log(folder: Path) -> list[str]:
    """Return the resources that were opened and closed, in order."""
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def pools(folder: Path, *sizes: int, head: str = HEAD) -> Config:
    items = (f"  - {{use: './steps.py:pool', name: pool{i}, with: {{size: {size}}}}}" for i, size in enumerate(sizes))
    return step_config(folder, "\n".join(items) + "\n", CODE, head)


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[ReloadableApp]:
    """Serve ``config`` during the block, then drain."""
    lifecycle, ready = Lifecycle(), trio.Event()
    app = ReloadableApp(config, open_service(config, lifecycle, None, check_streams=False))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: serve(app, [bind(LOCAL, 0)], state=lifecycle, drain=1, ready=ready.set, signals=False)
        )
        await ready.wait()
        yield app
        lifecycle.stop()


async def until(folder: Path, *lines: str) -> None:
    with trio.fail_after(20):
        while read_log(folder) != [*lines]:  # noqa: ASYNC110  # code that is not ours writes the file
            await trio.sleep(0.002)


async def test_a_resource_is_open_while_the_gateway_serves(tmp_path):
    async with serving(pools(tmp_path, 1, 2)):
        assert read_log(tmp_path) == ["open 1", "open 2"]
    assert read_log(tmp_path) == ["open 1", "open 2", "close 2", "close 1"]


def opened_steps(app: ReloadableApp) -> StepSet | None:
    """Return the steps that ``app`` uses for new requests."""
    running = app.current[1].opened.features.get("steps")
    return running.steps if isinstance(running, OpenedSteps) else None


async def test_a_reload_keeps_unchanged_resources_and_closes_the_others_after_their_last_request(tmp_path):
    async with serving(pools(tmp_path, 1, 2)) as app:
        old = opened_steps(app)
        old.acquire()  # a request that runs during the reload
        app.change(pools(tmp_path, 1, 3))
        await until(tmp_path, "open 1", "open 2", "open 3")
        assert [step.callable is not None for step in old.steps] == [True, True]
        old.release()
        await until(tmp_path, "open 1", "open 2", "open 3", "close 2")
        new = opened_steps(app)
        assert [step.callable is not None for step in new.steps] == [True, True]
    assert sorted(read_log(tmp_path)[4:]) == ["close 1", "close 3"]


async def test_a_reload_can_add_and_remove_all_steps(tmp_path):
    plain = step_config(tmp_path, "  []\n", CODE)
    async with serving(plain) as app:
        app.change(pools(tmp_path, 1))
        await until(tmp_path, "open 1")
        app.change(step_config(tmp_path, "  []\n", CODE))
        await until(tmp_path, "open 1", "close 1")
        assert opened_steps(app) is None


async def test_observers_that_a_reload_removes_are_released(tmp_path):
    observing = "  - {use: './steps.py:check', at: [finished], name: seen}\n"
    async with serving(step_config(tmp_path, "  []\n", CODE)) as app:
        finishers = app.current[1].ledger.finishers
        replaced = []
        for _ in range(2):
            app.change(step_config(tmp_path, observing, CODE))
            with trio.fail_after(20):
                while not finishers:  # noqa: ASYNC110  # there is no event to wait for
                    await trio.sleep(0.002)
            replaced.append(weakref.ref(opened_steps(app)))
            app.change(step_config(tmp_path, "  []\n", CODE))
            with trio.fail_after(20):
                while finishers:  # noqa: ASYNC110
                    await trio.sleep(0.002)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        assert [one() for one in replaced] == [None, None]


async def test_a_reload_with_a_fault_in_its_steps_changes_nothing(tmp_path, caplog):
    async with serving(pools(tmp_path, 1)) as app:
        broken = step_config(tmp_path, "  - use: ./steps.py:nothing\n", CODE)
        before = app.current
        assert not await app.reload(lambda: broken)
        assert app.current[1] is before[1]
    assert "./steps.py has no function or class 'nothing'" in caplog.text
    assert read_log(tmp_path) == ["open 1", "close 1"]


async def test_a_resource_that_cannot_open_after_a_reload_is_logged_and_checks_nothing(tmp_path, caplog):
    async with serving(pools(tmp_path, 1)) as app:
        app.change(pools(tmp_path, 1, 0, 2))
        steps = opened_steps(app)
        assert steps is not None
        for resource in steps.resources:
            await resource.settled.wait()
        assert [step.callable is not None for step in steps.steps] == [True, False, True]
    assert "the step pool1 could not start: ConnectionError" in caplog.text


async def test_a_resource_that_crashes_ends_its_step_and_not_the_gateway(tmp_path, caplog):
    async with serving(step_config(tmp_path, "  - use: ./steps.py:crashing\n", CODE)) as app:
        steps = opened_steps(app)
        assert steps is not None
        with trio.fail_after(20):
            while steps.steps[0].callable is not None:  # noqa: ASYNC110  # it crashes on its own
                await trio.sleep(0.002)
    assert "the resources of the step crashing ended with ValueError" in caplog.text


def served_pools(folder: Path, *sizes: int) -> tuple[Path, int]:
    """Return a file with resources, and the port that it sets."""
    port = free_port()
    config = pools(folder, *sizes, head=f"{HEAD}listeners: [{{type: model, port: {port}}}]\n")
    assert config.path is not None
    return config.path, port


def test_serve_does_not_start_if_a_resource_cannot_open(tmp_path):
    file, port = served_pools(tmp_path, 1, 0)
    with (
        pytest.raises(ConfigError, match="the step pool1 could not start: ConnectionError"),
        gateway_thread(file, port),
    ):
        raise AssertionError("it serves")
    assert read_log(tmp_path) == ["open 1", "open 0", "close 1"]


@pytest.mark.process
@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_prints_why_a_step_cannot_start(tmp_path, workers):
    config = pools(tmp_path, 0)
    found = run("serve", str(config.path), "--workers", workers, "--port", "0")
    assert found.returncode == 1
    assert "steps[0].use: the step pool0 could not start: ConnectionError" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_gateway_with_steps_in_a_thread_ends_with_its_resources(tmp_path):
    with gateway_thread(*served_pools(tmp_path, 1)):
        eventually(lambda: read_log(tmp_path) == ["open 1"], what="the resource")
    assert read_log(tmp_path) == ["open 1", "close 1"]


def gate_config(folder: Path, url: str, label: str, waits: str) -> Config:
    head = f"""version: v0.4.0
listeners: [{{type: model, port: {free_port()}}}]
model_providers: [{{model: openai/m, access_key: k, base_url: "{url}/v1"}}]
"""
    step = f"{{use: './steps.py:gate', at: [request], with: {{label: {label}, waits: {waits}}}}}"
    return step_config(folder, f"  - {step}\n", CODE, head)


async def test_a_request_keeps_the_steps_with_which_it_started(tmp_path):
    lifecycle, ready, sock = Lifecycle(), trio.Event(), bind(LOCAL, 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    replies: list[Reply] = []

    async def send() -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": "a text"}]}
        replies.append(await trio.to_thread.run_sync(request, url, "POST", "/v1/chat/completions", body))

    with fake_upstream() as upstream:
        config = gate_config(tmp_path, upstream.url, "old", "true")
        app = ReloadableApp(config, open_service(config, lifecycle, None, check_streams=False))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(app, [sock], state=lifecycle, drain=1, ready=ready.set, signals=False))
            await ready.wait()
            async with trio.open_nursery() as requests:
                requests.start_soon(send)
                await until(tmp_path, "check old")
                app.change(gate_config(tmp_path, upstream.url, "new", "false"))
                await send()
                await until(tmp_path, "check old", "check new")
                (tmp_path / "open").touch()
            await until(tmp_path, "check old", "check new", "close old")
            lifecycle.stop()
    assert ["new" in reply.body.decode() for reply in replies] == [True, False]
    assert [(reply.status, reply.headers["x-trigate-refused-by"]) for reply in replies] == [(400, "gate")] * 2


@pytest.mark.process
def test_a_supervisor_refuses_steps_that_its_workers_could_not_load(tmp_path):
    """Otherwise a worker that is started later could not start."""
    file, port = served_pools(tmp_path, 1)
    with running(file, port, "--workers", "2") as served:
        assert served.pid is not None
        text = file.read_text()
        file.write_text(text.replace("steps.py:pool", "steps.py:pond"))
        os.kill(served.pid, signal.SIGHUP)
        eventually(
            lambda: any("./steps.py has no function or class 'pond'" in line for line in served.log), what="the refusal"
        )
        assert sum("the configuration was not reloaded" in line for line in served.log) >= 1
        file.write_text(text.replace("size: 1", "size: 2"))
        os.kill(served.pid, signal.SIGHUP)
        eventually(lambda: read_log(tmp_path).count("open 2") == 2, what="the new resources of both workers")
