"""A stand-in with prompt caches, shared by the tests of them."""

from collections.abc import Iterator

import pytest

import gateway.features.prompt_caches.sent_prompts  # noqa: F401  # so that the first responses are not faster than its import
from tests.support.cached_talks import RULES, set_caches
from tests.support.gateway_thread import mock_thread
from tests.support.harness import Gateway


@pytest.fixture(scope="module")
def mock() -> Iterator[Gateway]:
    with mock_thread() as running:
        set_caches(running.url, models=RULES)
        yield running
