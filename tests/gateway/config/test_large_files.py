"""The work on a file with thousands of keys and models is linear: keys times models took minutes."""

from collections.abc import Callable

from gateway.config_files.loading import from_mapping
from gateway.config_reports.doubtful_budgets import uncounted_models
from tests.support.growth import assert_steps_grow_linearly
from tests.support.large_files import large_file


def read(number: int) -> Callable[[], None]:
    content = large_file(number)

    def work() -> None:
        assert any("m1" in warning for warning in uncounted_models(from_mapping(content)))

    return work


def test_keys_and_models_are_read_in_linear_steps():
    assert_steps_grow_linearly(read, few=6, ratio=1.05)
