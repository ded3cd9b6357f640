"""Fixtures, options and checks for all tests."""

import contextlib
import gc
import importlib
import itertools
import logging
import os
import platform
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from tests.support.certificates import LOOPBACK, Authority
from tests.support.examples import DEFAULT
from tests.support.features import has_feature
from tests.support.harness import Listening
from tests.support.repository import ROOT, SHARED_FOLDER
from tests.support.samples import outside_samples
from tests.support.upstreams import Upstream, fake_upstream

if TYPE_CHECKING:
    from tests.support import postgres

# Slow example generation depends on the machine, not on the code. Only the nightly run, and others on request, search
# for new examples: `pytest --hypothesis-profile=explore`.
_shared = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", _shared, max_examples=300)
settings.register_profile("shared", _shared, derandomize=True, max_examples=DEFAULT)
settings.register_profile("fast", _shared, derandomize=True, max_examples=10)

# Python runs a program for this, once in a process: libraries need it for their user agents.
platform.processor()

# A proxy between a test and its own servers would answer in their place.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

# Gateways register themselves there, and the user's own ones are not the tests' business.
_state = tempfile.TemporaryDirectory(prefix="trigate-state-", ignore_cleanup_errors=True)
os.environ["XDG_STATE_HOME"] = _state.name

# Workers inherit it, and find there what takes long to make.
if SHARED_FOLDER not in os.environ:
    _files = tempfile.TemporaryDirectory(prefix="trigate-tests-", ignore_cleanup_errors=True)
    os.environ[SHARED_FOLDER] = _files.name

SCHEMAS = itertools.count()
END_TO_END = Path(__file__).parent / "e2e"
FEATURES = Path(__file__).parent / "gateway/features"
FAST_WITHOUT = ("process", "server", "slow")
STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
"""Audit events of code that starts a process."""
SERVERS = ("initdb", "postgres", "redis-server", "valkey-server", "cp")
"""Programs of the fixtures that run Redis and PostgreSQL; ``cp`` saves and restores their data."""
CACHES = ("__pycache__", ".hypothesis", ".pytest_cache", ".lint_cache", ".mypy_cache", ".ruff_cache")
"""Folders of the repository that Python and the tools write to."""


class NotMarked(Exception):
    """A test starts a process without the mark for it."""


class WritesHere(Exception):
    """A test writes into the working tree."""


class _Current:
    """The test that runs in this process, and what it may do."""

    is_fast = False
    test: pytest.Item | None = None

    @classmethod
    def may_start(cls, event: str, arguments: tuple[Any, ...]) -> bool:
        if cls.is_fast or cls.test is None:
            return not cls.is_fast
        of_another_test = threading.current_thread().name.startswith("ThreadPoolExecutor")
        marks = {mark.name for mark in cls.test.iter_markers()}
        runs_program = event in ("subprocess.Popen", "os.posix_spawn")  # from Python 3.13, the first calls the other
        is_server = runs_program and Path(os.fsdecode(arguments[0])).name in SERVERS
        return of_another_test or "process" in marks or ("server" in marks and is_server)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests that start no process, with fewer examples")
    parser.addoption("--soak", action="store_true", help="only tests that are marked with soak, which no other run has")
    parser.addoption("--not-again", metavar="REPORT", help="leave out tests that have passed according to REPORT.xml")


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # keeps the order of files that is set below
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("fast" if config.getoption("fast") else "shared")
        # Hypothesis would also try constants of the modules that this worker happens to have imported.
        providers._get_local_constants = providers.Constants


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("fast") and collection_path == END_TO_END:
        return True
    # A feature without those that it needs is not opened, and has nothing to test.
    is_of_feature = collection_path.parent == FEATURES and collection_path.is_dir()
    return True if is_of_feature and not has_feature(collection_path.name) else None


@pytest.hookimpl(optionalhook=True)  # debuggers need -p no:xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers for ``-n auto``: two per core if tests wait for processes."""
    cores = len(os.sched_getaffinity(0))
    return cores if config.getoption("fast") else 2 * cores


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    soaked = outside_samples(items) | {item for item in items if item.get_closest_marker("soak")}
    left_out = {item for item in items if (item in soaked) is not config.getoption("soak")}
    if config.getoption("fast"):
        left_out |= {item for item in items if any(map(item.get_closest_marker, FAST_WITHOUT))}
    if report := config.getoption("not_again"):
        passed = _passed_in(Path(report))
        left_out |= {
            item for item in items if (".".join(Path(item.location[0]).with_suffix("").parts), item.name) in passed
        }
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
    if not config.getoption("fast"):
        # Files whose tests wait for processes come first, then those with the most tests, so that no core idles at the
        # end next to a long file.
        waiting = {item.path for item in items if any(map(item.get_closest_marker, ("process", "server")))}
        tests = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path not in waiting, -tests[item.path]))


def _passed_in(report: Path) -> set[tuple[str, str]]:
    """Return module and name of the tests that passed, from the report of ``--junitxml``."""
    cases = ElementTree.parse(report).iter("testcase")
    return {(case.get("classname", ""), case.get("name", "")) for case in cases if not len(case)}


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Exempt the collected tests from garbage collection, because they all stay to the end, and collect less often."""
    gc.disable()
    try:
        _import_others_later(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gc.enable()


def _import_others_later(config: pytest.Config) -> None:
    """Import the tests, starting at another file in each worker, so that each file is compiled only once."""
    if (worker := getattr(config, "workerinput", None)) is None:
        return
    folders = [Path(argument) for argument in config.args if Path(argument).is_dir()]
    files = sorted(path for folder in folders for path in folder.resolve().rglob("test_*.py"))
    first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for path in (*files[first:], *files[:first]):
        if not pytest_ignore_collect(END_TO_END if END_TO_END in path.parents else path, config):
            with contextlib.suppress(Exception, pytest.skip.Exception):  # its collection reports the error
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def pytest_collection_finish(session: pytest.Session) -> None:
    _Current.is_fast = session.config.getoption("fast")
    sys.addaudithook(_judge)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _Current.test = item
    try:
        return (yield)
    finally:
        _Current.test = None


def _judge(event: str, arguments: tuple[Any, ...]) -> None:
    """Stop a test that starts a process without its mark, or that writes into the working tree."""
    if _Current is None:  # while Python exits and clears its modules
        return
    if event == "open" and _Current.test is not None:
        path, _, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and isinstance(path, str) and _is_ours(path):
            raise WritesHere(f"{path}: a test writes to its tmp_path, not to the working tree")
    elif event in STARTS and not _Current.may_start(event, arguments):
        raise NotMarked(f"{event}: a test that starts a process is marked with @pytest.mark.process")


def _is_ours(path: str) -> bool:
    parts = Path(os.path.abspath(path)).parts
    return parts[: len(ROOT.parts)] == ROOT.parts and not set(CACHES) & set(parts)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail the last test of a file if one of them has a process that leaves something in the repository's root."""
    before = {*os.listdir(ROOT)}
    yield
    assert {*os.listdir(ROOT)} - before <= {*CACHES}


@pytest.fixture(scope="module", autouse=True)
def log_level() -> Iterator[None]:
    """Restore the level of the root logger, which gateways in this process set."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """Run a scripted provider for every API."""
    with fake_upstream() as server:
        yield server


@pytest.fixture(scope="module")
def by_hand() -> Iterator[Listening]:
    """Open a socket with which the test plays a provider by hand."""
    with Listening() as listening:
        yield listening


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """Return the paths of a self-signed certificate for localhost and 127.0.0.1, and of its key."""
    pair = Authority(tmp_path_factory.mktemp("tls"), "localhost", *LOOPBACK).itself
    return pair.certificate, pair.key


@pytest.fixture(scope="session")
def database_server() -> Iterator["postgres.Server"]:
    from tests.support import postgres  # it takes half a second

    with postgres.server_or_skip() as server:
        yield server


@pytest.fixture(scope="session")
def storage(request, tmp_path_factory) -> Callable[[str], dict[str, Any]]:
    """Return a function that returns ``state_storage`` for an empty store of a kind."""

    def make(kind: str) -> dict[str, Any]:
        if kind == "sqlite":
            return {"type": kind, "path": str(tmp_path_factory.mktemp("state") / "state.sqlite")}
        if kind == "postgres":
            server, name = request.getfixturevalue("database_server"), f"e{next(SCHEMAS)}"
            server.sql(f"CREATE SCHEMA {name}")
            return {"type": kind, "connection_string": f"{server.url}&options=-csearch_path%3D{name}"}
        return {"type": kind}

    return make
