"""Fixtures for the tests of commands that change stored clients."""

from collections.abc import Callable

import pytest

from tests.support.command_line import Finished, invoke
from tests.support.quick_yaml import dump_yaml


@pytest.fixture
def keys(request, tmp_path) -> Callable[..., Finished]:
    """Run ``trigate keys`` with stored keys and the module's ``SETTINGS``, changed by ``more`` (None removes one)."""

    def run(*args: str, **more: object) -> Finished:
        file = tmp_path / "c.yaml"
        storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
        given = {"stored_keys": True, "state_storage": storage, **request.module.SETTINGS, **more}
        settings = {name: value for name, value in given.items() if value is not None}
        file.write_text(dump_yaml({"version": "v0.4.0", **settings}))
        return invoke("keys", *args, "--config", str(file), cwd=tmp_path)

    return run
