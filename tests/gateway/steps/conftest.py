"""The provider of the tests of steps."""

import pytest

from tests.support.upstreams import fake_upstream


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as served:
        yield served
