"""The labels in ``docs/steps-reference.md`` are those of the code."""

from tests.pages.steps import PAGE, page


def test_the_page_has_the_labels_of_the_code():
    assert PAGE.read_text() == page(PAGE.read_text()), "python -m tests.pages.steps writes them"
