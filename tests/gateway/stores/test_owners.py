"""The owner with the most bytes, while owners appear, grow, shrink and disappear."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.stores.nodes import OwnerBytes

CHANGES = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5)), max_size=60)


@given(CHANGES, st.sets(st.sampled_from("abcdef")))
def test_the_largest_owner_is_always_known(changes, without):
    owners, plain = OwnerBytes(), dict.fromkeys("abcdef", 0)
    for owner, size in changes:
        owners.add(owner, size - plain[owner])
        plain[owner] = size
        left = {name: held for name, held in plain.items() if held and name not in without}
        found = owners.largest_owner(without)
        assert (found is None) == (not left)
        assert found is None or left[found] == max(left.values())
        assert owners.of(owner) == size
