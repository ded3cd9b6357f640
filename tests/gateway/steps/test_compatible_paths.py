"""Steps on the paths of other servers: Bedrock's InvokeModel, Azure's deployments and LiteLLM's prefixes."""

import base64
import re
from typing import Any, Final

import pytest

from tests.support.compatible_requests import compatible_requests
from tests.support.harness import provider
from tests.support.step_gateway import client_keys, own_steps, post_as, step_gateway
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
    entries = [
        provider(f"{vendor}/on-{api}", upstream.url + BASES.get(api, "/v1"), [api]) for api, vendor in VENDORS.items()
    ]
    more = {
        "client_keys": client_keys(STEPS),
        "steps": own_steps(STEPS),
        "compatibility": ["azure", "litellm"],
    }
    with step_gateway(tmp_path_factory.mktemp("steps"), entries, CODE, **more) as served:
        yield served


def readable(body: bytes) -> str:
    """Return everything that a client can read in ``body``, with the events in Amazon's frames and the joined texts
    of all events."""
    framed = [base64.b64decode(found) for found in re.findall(rb'"bytes": ?"([A-Za-z0-9+/=]+)"', body)]
    text = b"\n".join([body, *framed]).decode("utf-8", "replace")
    return text + "\n" + "".join(re.findall(r'"(?:text|content|delta)": ?"([^"]*)"', text))


@pytest.mark.sample(19, by="turns")
@pytest.mark.parametrize("client", STEPS)
@pytest.mark.parametrize(("path", "body", "stream"), CELLS)
def test_no_path_of_another_server_evades_the_steps(gateway, upstream, client, path, body, stream):
    upstream.script(Script(text="it is falcon-77 today"))
    status, headers, raw = post_as(gateway, client, path, body)
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
