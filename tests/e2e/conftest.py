"""Fixtures of the end-to-end tests of stored state."""

from collections.abc import Iterator

import openai
import pytest

from tests.support.sdk_conversation import openai_client


@pytest.fixture(scope="module")
def sdk(gateway) -> Iterator[openai.OpenAI]:
    """Return OpenAI's client, connected to the module's gateway."""
    with openai_client(gateway.url) as client:
        yield client
