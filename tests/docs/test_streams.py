"""What ``docs/streams.md`` prints of the code; what it says of streams that go wrong is tested in ``tests/e2e``."""

from tests.pages.streams import PAGE, page


def test_the_table_of_states_is_the_one_that_streams_follow():
    assert PAGE.read_text() == page(PAGE.read_text()), "python -m tests.pages.streams writes it"
