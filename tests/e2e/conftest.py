"""What the end-to-end tests of stored state share."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.support import postgres
from tests.support.sdk_conversation import openai_client

SCHEMAS = itertools.count()


@pytest.fixture(scope="session")
def database_server() -> Iterator[postgres.Server]:
    with postgres.server_or_skip() as server:
        yield server


@pytest.fixture(scope="session")
def storage(request, tmp_path_factory) -> Callable[[str], dict[str, Any]]:
    """``state_storage`` for a kind of store that nobody has used yet."""

    def make(kind: str) -> dict[str, Any]:
        if kind == "sqlite":
            return {"type": kind, "path": str(tmp_path_factory.mktemp("state") / "state.sqlite")}
        if kind == "postgres":
            server, name = request.getfixturevalue("database_server"), f"e{next(SCHEMAS)}"
            server.sql(f"CREATE SCHEMA {name}")
            return {"type": kind, "connection_string": f"{server.url}&options=-csearch_path%3D{name}"}
        return {"type": kind}

    return make


@pytest.fixture(scope="module")
def sdk(gateway) -> Iterator[openai.OpenAI]:
    """OpenAI's client of the module's gateway."""
    with openai_client(gateway.url) as client:
        yield client
