"""A gateway that is killed at any moment loses no turn that it has answered, and leaves none half-written."""

import pytest

from tests.support.crashes import ANSWERED, crashes

pytestmark = [pytest.mark.process, pytest.mark.soak]

ROUNDS = {"sqlite": 3, "postgres": 2}


@pytest.mark.parametrize("store", ROUNDS)
def test_a_crash_loses_no_answered_turn_and_leaves_no_partial_one(storage, tmp_path, store):
    with crashes(storage(store), tmp_path) as under_way:
        under_way.run(ROUNDS[store])
        assert len(under_way.known.whole) >= ROUNDS[store] * ANSWERED[0]
