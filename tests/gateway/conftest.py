"""What tests of the gateway share."""

import pytest

from tests.support.set_clock import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()
