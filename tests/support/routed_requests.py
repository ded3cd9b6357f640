"""Candidates of a small configuration, for tests of routing options."""

import json

import pytest

from gateway.config_files.loading import from_mapping
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming, read_incoming
from gateway.request.routing_options import RoutingOptions
from gateway.routing.plan import Candidate
from gateway.routing.router import Router
from streams.errors import GatewayError

CONFIG = from_mapping(
    {
        "version": "v0.4.0",
        "model_providers": [
            {"model": "anthropic/claude-sonnet-5", "name": "sonnet", "access_key": "k"},
            {"model": "azure_openai/gpt-5", "name": "azure-eu", "access_key": "k", "base_url": "https://eu.example"},
            {"model": "azure_openai/gpt-5", "name": "azure-us", "access_key": "k", "base_url": "https://us.example"},
            {"model": "openai/gpt-5", "name": "gpt", "access_key": "k"},
            {"model": "gemini/gemini-4-argon", "name": "argon", "access_key": "k"},
            {"model": "openrouter/openai/gpt-5", "name": "router", "access_key": "k"},
        ],
    }
)
ROUTER = Router(CONFIG)


def candidates(*groups: str) -> tuple[Candidate, ...]:
    """Return the candidates of each group: the names of its entries, with spaces between them."""
    return tuple(
        Candidate(ROUTER.resolve(name, "chat"), at) for at, group in enumerate(groups) for name in group.split()
    )


SEVERAL = candidates("sonnet", "azure-eu azure-us", "gpt")


def groups(found: tuple[Candidate, ...]) -> list[str]:
    names: dict[int, list[str]] = {}
    for one in found:
        names.setdefault(one.group, []).append(one.target.entry.name)
    return [" ".join(group) for group in names.values()]


def headers(**given: str) -> ClientRequest:
    return ClientRequest(tuple((f"x-trigate-{name}", value) for name, value in given.items()), "")


NOTHING = headers()


def chat(api: str = "chat", **members: object) -> Incoming:
    body = {"model": "best", "messages": [{"role": "user", "content": "hello"}], **members}
    return read_incoming(api, json.dumps(body).encode())  # type: ignore[arg-type]


def names(options: RoutingOptions) -> list[str]:
    return [name for _, name in options.names]


def read_refusal(function, *arguments) -> tuple[str, str | None, str]:
    with pytest.raises(GatewayError) as error:
        function(*arguments)
    assert error.value.info.status == 400
    return error.value.info.kind, error.value.info.param, error.value.info.message
