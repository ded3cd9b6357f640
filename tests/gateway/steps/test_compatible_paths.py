"""Steps on the paths of other servers: Bedrock's InvokeModel, Azure's deployments and LiteLLM's prefixes."""

import base64
import http.client
import json
import re
from typing import Any, Final

import pytest
import yaml

from tests.support.compatible_requests import compatible_requests
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, config, free_port, provider
from tests.support.step_providers import BASES, CODE, VENDORS
from tests.support.upstreams import Script

STEPS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"action": "mask"},
    "mask-window": {"action": "mask", "hold": 20, "at": ["response"]},
    "refuse": {"action": "refuse"},
    "refuse-window": {"action": "refuse", "hold": 20, "at": ["response"]},
    "stop": {"action": "refuse", "refusal": {"as": "stop", "message": "Not here."}},
}
PROMPT: Final = "about falcon-12 and falcon-12"
CELLS: Final = [
    (path, body, stream)
    for target in ("messages", "chat")
    for stream in (False, True)
    for path, body in compatible_requests(f"on-{target}", PROMPT, stream=stream).items()
]


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("steps"), free_port()
    (folder / "steps.py").write_text(CODE)
    entries = [
        provider(f"{vendor}/on-{api}", upstream.url + BASES.get(api, "/v1"), [api]) for api, vendor in VENDORS.items()
    ]
    more = {
        "client_keys": [{"name": name, "key": f"key-of-{name}-0123456789"} for name in STEPS],
        "steps": [
            {"use": "./steps.py:words", "name": name, "for": {"clients": [name]}, **step}
            for name, step in STEPS.items()
        ],
        "compatibility": ["azure", "litellm"],
        "signing_key": "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk=",
    }
    file = folder / "trigate.yaml"
    file.write_text(yaml.safe_dump(config(entries, port, **more), sort_keys=False))
    with gateway_thread(file, port) as served:
        yield served


def ask(gateway, client: str, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    headers = {"authorization": f"Bearer key-of-{client}-0123456789", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, data


def readable(body: bytes) -> str:
    """Return everything that a client can read in ``body``, with the events in Amazon's frames and the joined texts
    of all events."""
    framed = [base64.b64decode(found) for found in re.findall(rb'"bytes": ?"([A-Za-z0-9+/=]+)"', body)]
    text = b"\n".join([body, *framed]).decode("utf-8", "replace")
    return text + "\n" + "".join(re.findall(r'"(?:text|content|delta)": ?"([^"]*)"', text))


@pytest.mark.parametrize("client", STEPS)
@pytest.mark.parametrize(("path", "body", "stream"), CELLS)
def test_no_path_of_another_server_evades_the_steps(gateway, upstream, client, path, body, stream):
    upstream.script(Script(text="it is falcon-77 today"))
    status, headers, raw = ask(gateway, client, path, body)
    seen = readable(raw)
    assert "alcon-7" not in seen
    if "window" not in client:
        assert all(b"falcon" not in one.body for one in upstream.seen)
    if client.startswith("mask"):
        assert status == 200, seen
        assert re.search(r"it is \[WORD_[0-9a-f]{10,}\] today", seen), seen
        return
    assert headers["x-trigate-refused-by"] == client
    if client == "stop":
        assert status == 200, seen
        assert "Not here." in seen
    else:
        assert status == 400, seen
    assert bool(upstream.seen) == (client == "refuse-window")
