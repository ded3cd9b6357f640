from importlib.metadata import PackageNotFoundError, version

import pytest

from providers.catalog.model_facts import FILE, source
from tests.pages import model_facts


def test_the_list_of_facts_equals_its_package():
    try:
        installed = version("litellm")
    except PackageNotFoundError:
        pytest.skip("the package litellm is not here; tests/pages/model_facts.py says how to have it")
    if not source().startswith(f"litellm {installed},"):
        pytest.skip(f"the list is of {source()}, and litellm {installed} is here")
    assert FILE.read_text() == model_facts.text(), "python -m tests.pages.model_facts writes it"
