"""A model of each API at one provider, and requests of clients of each API for it."""

from typing import Any, Final

from tests.support.harness import Gateway, Reply, provider
from tests.support.wire_clients import ALL, body_of, path_of

VENDORS: Final = {"chat": "openai", "messages": "anthropic", "responses": "openai", "gemini": "gemini",
                  "converse": "amazon_bedrock", "interactions": "gemini"}  # fmt: skip


def entries_of_every_api(url: str, **more: Any) -> list[dict[str, Any]]:
    """Return an entry ``m-API`` for each API, with ``more`` keys."""
    return [provider(f"{VENDORS[api]}/up-{api}", url, [api], name=f"m-{api}", **more) for api in ALL]


def ask(gateway: Gateway, client: str, api: str, *, stream: bool) -> Reply:
    """Send a request of ``client``, which is an API, for the model of ``api``."""
    model = f"m-{api}"
    return gateway.request("POST", path_of(client, model, stream=stream), body_of(client, model, stream=stream))
