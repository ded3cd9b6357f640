"""The provider, the service and the directory of the tests of steps."""

from pathlib import Path

import pytest

from tests.support.check_services import check_service
from tests.support.upstreams import fake_upstream


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as served:
        yield served


@pytest.fixture(scope="module")
def guard():
    with check_service() as served:
        yield served


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return the directory of a module's configuration, and of the files that its steps write."""
    return tmp_path_factory.mktemp("steps")
