"""A gateway before providers that keep objects, and the official SDKs as its clients."""

import contextlib
import functools
import inspect
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anthropic
import httpx2
import openai
import trio

from gateway.config_files.loading import from_mapping
from gateway.open_store import open_store
from tests.support.endpoint_provider import endpoint_provider, settings
from tests.support.in_process import InProcess, gateway
from tests.support.kept_provider import KeptProvider
from tests.support.settled_lines import SettledLines

KEYS = {"a": "key-of-client-a-123456", "b": "key-of-client-b-123456", "c": "key-of-client-c-123456"}
CLIENTS = [
    {"name": "a", "key": KEYS["a"]},
    {"name": "b", "key": KEYS["b"]},
    {"name": "c", "key": KEYS["c"], "foreign_ids": True},
]
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without certificates, whose search takes longer than a test
MODELS = {"openai": "openai/gpt-5", "anthropic": "anthropic/claude-x", "gemini": "gemini/gemini-x",
          "litellm": "litellm/gpt-5", "mistral": "mistral/mistral-small"}  # fmt: skip


class Served:
    """A gateway with providers that keep objects, by their names."""

    def __init__(
        self,
        served: InProcess,
        providers: dict[str, KeptProvider],
        plain: httpx2.Client,
        content: dict[str, Any] | None = None,
    ) -> None:
        self.url = served.url
        self.gateway = served
        self.lines = SettledLines(served)
        self.providers = providers
        self._plain = plain
        self._content = content or {}

    def change(self, **config: Any) -> None:
        """Serve another configuration from now on."""
        self.gateway.reload({**self._content, **config})

    def openai(self, key: str = KEYS["a"]) -> openai.OpenAI:
        return openai.OpenAI(api_key=key, base_url=f"{self.url}/v1", max_retries=0, http_client=self._plain)

    def anthropic(self, key: str = KEYS["a"]) -> anthropic.Anthropic:
        return anthropic.Anthropic(auth_token=key, base_url=self.url, max_retries=0, http_client=self._plain)

    def http(self, method: str, path: str, key: str | None = KEYS["a"], **more: Any) -> httpx2.Response:
        headers = {**({"authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
        return self._plain.request(method, path if "://" in path else self.url + path, headers=headers, **more)


@contextlib.asynccontextmanager
async def serving(
    *names: str, clients: Sequence[dict[str, Any]] = CLIENTS, entry: dict[str, Any] | None = None, **config: Any
) -> AsyncIterator[Served]:
    """Run a gateway. ``names`` are ``provider`` or ``provider:entry_name``."""
    async with contextlib.AsyncExitStack() as stack:
        entries, providers = [], {}
        for number, name in enumerate(names):
            kind, _, called = name.partition(":")
            keeping = providers[called or kind] = KeptProvider(str(number))
            provider = await stack.enter_async_context(endpoint_provider(keeping))
            keeping.url = provider.url
            base = f"{provider.url}/{'v1beta' if kind == 'gemini' else 'v1'}"
            own = {"model": MODELS[kind], "access_key": f"sk-of-{name}-account", "base_url": base}
            entries.append({**own, **({"name": called} if called else {}), **(entry or {})})
        content = settings(*entries, **({"client_keys": clients} if clients else {}), **config)
        store = await open_store(from_mapping(content)) if "state_storage" in config else None
        if store is not None:
            stack.push_async_callback(store.database.aclose)
        served = await stack.enter_async_context(gateway(content, store=store))
        plain = stack.enter_context(httpx2.Client(trust_env=False, timeout=10, verify=NO_TLS))
        yield Served(served, providers, plain, content)


async def run(step: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(step)


def with_gateway(*names: str, **config: Any) -> Callable[[Callable[..., None]], Any]:
    """Run a test in a thread, because SDKs block, with the gateway of ``serving`` as its first argument."""

    def decorate(test: Callable[..., None]) -> Any:
        @functools.wraps(test)
        async def run_test(**fixtures: Any) -> None:
            async with serving(*names, **config) as served:
                await run(lambda: test(served, **fixtures))

        parameters = list(inspect.signature(test).parameters.values())
        run_test.__signature__ = inspect.Signature(parameters[1:])  # type: ignore[attr-defined]
        return run_test

    return decorate


def error_of(step: Callable[[], Any]) -> Any:
    """Return the error that an SDK call raises."""
    try:
        step()
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return error
    raise AssertionError("it was not refused")
