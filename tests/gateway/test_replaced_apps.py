"""A replaced app and its service are freed immediately: each change of a client's key replaces them, with the tables of
thousands of clients, and the collector runs rarely."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from gateway.app import app_of
from gateway.config_files.loading import Config, from_mapping
from gateway.exchange.service import Service
from gateway.open_service import open_service, service_of_clients
from gateway.serving.lifecycle import Lifecycle
from tests.support.admin import admin_config


@pytest.fixture
def config(tmp_path) -> Config:
    listener = {"name": "models", "type": "model", "port": 12000}
    return from_mapping({**admin_config(tmp_path), "listeners": [listener]})


@pytest.fixture
def first(config) -> Iterator[Service]:
    service = open_service(config, Lifecycle(), None, check_streams=False)
    gc.collect()
    gc.disable()
    yield service
    gc.enable()


@pytest.mark.parametrize("has_quart", [False, True])
async def test_an_app_is_freed_with_its_service(config, first, has_quart):
    service = service_of_clients(config, first)
    app = app_of(config, service)
    if has_quart:
        await app.websocket_app()
    found = [weakref.ref(one) for one in (app, service.allowances, service.authenticator)]
    del app, service
    assert [one() for one in found] == [None, None, None]
