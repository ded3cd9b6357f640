"""What one may take of a gateway that others use, too: nothing before it is admitted, and its share afterwards."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import h2.config
import h2.connection
import h2.settings
from h2.events import ResponseReceived, StreamReset

from tests.support.harness import Gateway, Wire, config, free_port, provider, running
from tests.support.upstreams import PATHS, Script

KEYS = {"mallory": "sk-gw-mallory-0123456789", "bob": "sk-gw-bob-0123456789"}
CLIENTS = [{"name": name, "key": key} for name, key in KEYS.items()]
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def auth(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[name]}"}


@contextlib.contextmanager
def serving(url: str, **more: Any) -> Iterator[Gateway]:
    port = free_port()
    settings = config([provider("openai/m", url, ["chat"])], port, **{"client_keys": CLIENTS, **more})
    with running(settings, port) as process:
        yield process
        assert "Traceback" not in "\n".join(process.log)


@contextlib.contextmanager
def unread(port: int, heads: list[list[tuple[str, str]]]) -> Iterator[None]:
    """Requests over HTTP/2 whose client keeps the windows for their answers shut (RFC 9113, section 6.9.2)."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.local_settings = h2.settings.Settings(
        client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0}
    )
    connection.initiate_connection()
    for i, head in enumerate(heads):
        connection.send_headers(2 * i + 1, head, end_stream=True)
    with Wire.connect(port) as wire:
        wire.send(connection.data_to_send())
        answered = 0
        while answered < len(heads):
            events = connection.receive_data(wire.sock.recv(65536))
            answered += sum(isinstance(event, ResponseReceived | StreamReset) for event in events)
        yield


def head(path: str, method: str = "POST", headers: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    line = {":method": method, ":path": path, ":scheme": "http", ":authority": "localhost"}
    return [*line.items(), *(headers or {}).items()]


def test_who_is_not_admitted_takes_no_place(upstream):
    """One that does not read its refusal keeps it waiting for as long as it likes (CVE-2019-9517)."""
    refused = [
        head(PATHS["chat"]),
        head(PATHS["chat"], headers={"x-api-key": "guessed"}),
        head("/v1/conversations"),
        head("/v1/conversations", headers=auth("bob") | {"x-api-key": "another"}),
        head("/nothing/here", headers=auth("bob")),
        head("/healthz", "GET"),
        head("/", "GET"),
    ]
    upstream.script(Script(text="one"))
    with serving(upstream.url, limits={"in_flight": 1}) as gateway, unread(gateway.port, refused * 4):
        assert gateway.request("POST", PATHS["chat"], ASKED, auth("bob")).status == 200
