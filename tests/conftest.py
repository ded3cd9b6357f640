"""What all tests share."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.harness import Listening
from tests.support.pure import is_pure, stop_what_is_not
from tests.support.upstreams import Upstream, fake_upstream

# How fast examples are made says something about the machine, not about the code; and a run that finds what the last
# did not find should be one that was asked to look: `pytest --hypothesis-profile=explore`.
_shared = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", _shared)
settings.register_profile("shared", _shared, derandomize=True)
settings.register_profile("quick", _shared, derandomize=True, max_examples=20)  # what `--pure` is for
settings.load_profile("shared")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pure", action="store_true", help="only tests that need no socket, process or thread")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("pure") and not config.getoption("--hypothesis-profile"):
        settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    file = collection_path.suffix == ".py"
    return True if config.getoption("pure") and file and not is_pure(collection_path) else None


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("pure"):
        stop_what_is_not()


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
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(cert), "-keyout", str(key)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return cert, key
