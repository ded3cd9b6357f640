"""A gateway and the provider of its people, shared by the tests of a module."""

import pytest

from tests.support.people_browser import PeopleBrowser, own_address
from tests.support.people_gateway import people_gateway


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory):
    with people_gateway(tmp_path_factory.mktemp("people"), trusted_proxies=["127.0.0.1"]) as running:
        yield running


@pytest.fixture
def gateway(shared_gateway):
    """Return the shared gateway, whose provider has no faults."""
    provider = shared_gateway.provider
    provider.wrong.clear()
    provider.faults.clear()
    provider.userinfo.clear()
    provider.configuration.clear()
    provider.only_userinfo = frozenset()
    provider.signed_in, provider.denies = None, False
    return shared_gateway


@pytest.fixture
def browser():
    return PeopleBrowser(headers=own_address())
