"""The page of the admin API: its table is the one that serves the paths."""

from tests.pages.admin import PAGE, page
from tests.support.features import describes_all_features


@describes_all_features
def test_the_table_of_paths_is_the_one_that_serves_them():
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python -m tests.pages.admin"
