"""The page of endpoints: its tables are those of the rows."""

from providers.catalog.providers import CATALOG
from tests.pages.endpoints import PAGE, page


def test_the_tables_match_the_rows():
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python -m tests.pages.endpoints"


def test_endpoints_of_a_provider_row_have_a_source():
    for row in CATALOG.values():
        assert row.endpoint_source is not None or not row.endpoints or row.id == "trigate", row.id
