"""Lookups of names at name servers that do not respond, in a whole gateway."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

from gateway.relay import public_addresses
from gateway.upstream.lookups import OF_CLIENT
from tests.support.features import needs_feature
from tests.support.gateway_thread import ThreadGateway, gateway_thread, mock_thread
from tests.support.harness import PATIENCE, Wire, config, provider, request

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
REQUESTS = 60
"""More than trio's threads for all work of a process."""


class SilentNames:
    """Names below ``silent.test``, whose lookups last until ``released`` is set. ``running`` are those that wait.

    With ``after``, each name is first found that many times."""

    def __init__(self) -> None:
        self.after = 0
        self._found: Counter[str] = Counter()
        self.released = threading.Event()
        self.running: list[str] = []
        self._began = threading.Condition()
        self._look_up = socket.getaddrinfo

    def getaddrinfo(self, host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not name.endswith("silent.test") or rest[4] & socket.AI_NUMERICHOST:  # trio first tries an address
            return self._look_up(host, *rest, **more)
        self._found[name] += 1
        if self._found[name] <= self.after:
            return self._look_up("127.0.0.1", *rest, **more)
        with self._began:
            self.running.append(name)
            self._began.notify_all()
        self.released.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")

    def wait_for(self, number: int, seconds: float) -> bool:
        """Return whether as many lookups run, after ``seconds`` at most."""
        with self._began:
            return self._began.wait_for(lambda: len(self.running) >= number, seconds)


@pytest.fixture
def names(monkeypatch) -> Iterator[SilentNames]:
    silent = SilentNames()
    monkeypatch.setattr(socket, "getaddrinfo", silent.getaddrinfo)
    yield silent
    silent.released.set()


def test_a_provider_whose_name_server_is_silent_delays_no_other_provider(names):
    timeouts = {"connect": "500ms"}
    with mock_thread() as mock:
        entries = [
            provider("openai/lost", "http://api.silent.test/v1", name="lost", timeouts=timeouts),
            provider("openai/good", f"http://localhost:{mock.port}/v1", name="good", timeouts=timeouts),
        ]
        with gateway_thread(config(entries)) as gateway, ThreadPoolExecutor(REQUESTS) as pool:

            def ask(model: str) -> int:
                return gateway.request("POST", "/v1/chat/completions", {"model": model, **CHAT}).status

            assert set(pool.map(ask, ["lost"] * REQUESTS)) <= {502, 504}
            assert names.running
            assert ask("good") == 200
            assert request(gateway.url, "GET", "/healthz", timeout=5).status == 200
            names.released.set()


@needs_feature("linked_files")
@pytest.mark.parametrize("after", [0, 1])
def test_names_that_a_client_chooses_delay_no_provider(names, monkeypatch, after):
    names.after = after
    monkeypatch.setattr(public_addresses, "is_public", lambda address: True)  # of the first lookup
    with mock_thread() as mock:
        entries = [
            provider("gemini/pictures", f"http://localhost:{mock.port}", name="pictures", images={"inline": True}),
            provider("openai/good", f"http://localhost:{mock.port}/v1", name="good", timeouts={"connect": "500ms"}),
        ]
        with gateway_thread(config(entries)) as gateway:
            assert isinstance(gateway, ThreadGateway)
            gateway.token.run_sync_soon(limit_shared_threads, 2 * OF_CLIENT)
            for number in range(3 * OF_CLIENT):  # a client that leaves before its downloads end
                picture = {"type": "image_url", "image_url": {"url": f"https://n{number}.silent.test/a.png"}}
                body = json.dumps({"model": "pictures", "messages": [{"role": "user", "content": [picture]}]})
                with Wire.connect(gateway.port) as wire:
                    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: {len(body)}\r\n\r\n"
                    wire.send(f"{head}{body}".encode())
                    assert names.wait_for(number + 1, PATIENCE if number < OF_CLIENT else 0.1) == (number < OF_CLIENT)
            assert gateway.request("POST", "/v1/chat/completions", {"model": "good", **CHAT}).status == 200
            names.released.set()


def limit_shared_threads(number: int) -> None:
    trio.to_thread.current_default_thread_limiter().total_tokens = number
