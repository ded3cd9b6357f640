"""What all tests share."""

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.certificates import LOOPBACK, Authority
from tests.support.harness import Listening
from tests.support.repository import ROOT
from tests.support.upstreams import Upstream, fake_upstream

# How fast examples are made says something about the machine, not about the code; and a run that finds what the last
# did not find should be one that was asked to look: `pytest --hypothesis-profile=explore`.
_shared = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", _shared)
settings.register_profile("shared", _shared, derandomize=True)
settings.register_profile("fast", _shared, derandomize=True, max_examples=20)
settings.load_profile("shared")


PROCESSES = Path(__file__).parent / "e2e"
FAST_WITHOUT = ("process", "slow")
STOPPED = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
"""Audit events: what no test does that ``--fast`` runs."""


class NotFast(Exception):
    """A test that is not marked as one that starts a process wants to."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests that start no process, with fewer examples")


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # that files are handed out as they are ordered below
    if config.getoption("fast") and not config.getoption("--hypothesis-profile"):
        settings.load_profile("fast")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("fast") and collection_path == PROCESSES else None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Of ``-n auto``: half as many again as there are cores where processes are started, which tests wait for."""
    cores = len(os.sched_getaffinity(0))
    return cores if config.getoption("fast") else cores + (cores + 1) // 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if str(item.path).startswith(f"{PROCESSES}{os.sep}") or "certificate" in getattr(item, "fixturenames", ()):
            item.add_marker("process")
    if config.getoption("fast"):
        left_out = [item for item in items if any(map(item.get_closest_marker, FAST_WITHOUT))]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    else:
        # Files whose tests wait for processes come first, so that no core idles at the end beside the last long one.
        waiting = {str(item.path) for item in items if item.get_closest_marker("process")}
        items.sort(key=lambda item: str(item.path) not in waiting)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """What is collected stays to the end: the collector of cycles would walk it again and again, in vain."""
    gc.disable()
    try:
        _import_others_later(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _import_others_later(config: pytest.Config) -> None:
    """Import the tests, each worker from another place on, so that each of them is compiled by one worker only."""
    if (worker := getattr(config, "workerinput", None)) is None:
        return
    folders = [Path(argument) for argument in config.args if Path(argument).is_dir()]
    files = sorted(path for folder in folders for path in folder.resolve().rglob("test_*.py"))
    first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for path in (*files[first:], *files[:first]):
        if not pytest_ignore_collect(PROCESSES if PROCESSES in path.parents else path, config):
            with contextlib.suppress(Exception, pytest.skip.Exception):  # collecting it says what is wrong
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("fast"):
        sys.addaudithook(_stop)


def _stop(event: str, _: object) -> None:
    if event in STOPPED:
        raise NotFast(f"{event}: a test that starts a process is marked with @pytest.mark.process, or is in tests/e2e")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """A provider that speaks every API, by script."""
    with fake_upstream() as server:
        yield server


@pytest.fixture(scope="module")
def by_hand() -> Iterator[Listening]:
    """A provider that the test plays itself."""
    with Listening() as listening:
        yield listening


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """Paths of a self-signed certificate for localhost and 127.0.0.1, and of its key."""
    pair = Authority(tmp_path_factory.mktemp("tls"), "localhost", *LOOPBACK).itself
    return pair.certificate, pair.key
