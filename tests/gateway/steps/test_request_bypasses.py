"""Requests that try to bring a refused or masked value past the steps: unusual JSON, splits and rarely used members."""

import gzip
import re
from typing import Final

import pytest

from tests.support.harness import provider
from tests.support.step_gateway import client_keys, own_steps, post_as, step_gateway
from tests.support.step_providers import CODE
from tests.support.upstreams import Script


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    steps = own_steps({name: {"action": name} for name in ("refuse", "mask")})
    keys = client_keys(("refuse", "mask"))
    entries = [provider("openai/on-chat", upstream.url + "/v1", ["chat"])]
    with step_gateway(tmp_path_factory.mktemp("steps"), entries, CODE, client_keys=keys, steps=steps) as served:
        yield served


def send(gateway, client: str, body: bytes, **headers: str) -> int:
    return post_as(gateway, client, "/v1/chat/completions", body, headers)[0]


def text_in(body: bytes) -> str:
    """Return what a reader of ``body`` can see: its text with all escapes resolved, and without the seams of parts."""
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), body.decode())
    return "\n".join([text, "".join(re.findall(r'"text": "([^"]*)"', text))]).encode("utf-8", "replace").decode()


REQUESTS: Final[dict[str, str]] = {
    "text": '{"messages": [{"role": "user", "content": "falcon-77"}]}',
    "escapes": '{"messages": [{"role": "user", "content": "f\\u0061lcon-77"}]}',
    "escaped names": '{"messages": [{"role": "user", "c\\u006fntent": "falcon-77"}]}',
    "a duplicate member": '{"messages": [{"role": "user", "content": "falcon-77", "content": "a"}]}',
    "duplicate messages": '{"messages": [{"role": "user", "content": "falcon-77"}], "messages": []}',
    "adjacent parts": '{"messages": [{"role": "user", "content": '
    '[{"type": "text", "text": "falc"}, {"type": "text", "text": "on-77"}]}]}',
    "a surrogate": '{"messages": [{"role": "user", "content": "\\ud800falcon-77"}]}',
    "another case": '{"messages": [{"role": "user", "Content": "falcon-77", "content": "a"}]}',
    "the name of an unknown member": '{"messages": [{"role": "user", "content": "a"}], "x": {"falcon-77": 1}}',
    "arguments": '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "c", '
    '"type": "function", "function": {"name": "f", "arguments": "{\\"a\\": \\"f\\\\u0061lcon-77\\"}"}}]}, '
    '{"role": "tool", "tool_call_id": "c", "content": "b"}]}',
    "stop sequences": '{"messages": [{"role": "user", "content": "a"}], "stop": ["falcon-77"]}',
    "metadata": '{"messages": [{"role": "user", "content": "a"}], "metadata": {"note": "falcon-77"}}',
    "a user id": '{"messages": [{"role": "user", "content": "a"}], "user": "falcon-77"}',
    "a message's name": '{"messages": [{"role": "user", "content": "a", "name": "falcon-77"}]}',
    "a content that is an object": '{"messages": [{"role": "user", "content": {"text": "falcon-77"}}]}',
    "a schema": '{"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_schema", '
    '"json_schema": {"name": "s", "schema": {"description": "falcon-77"}}}}',
}


@pytest.mark.sample(2, by="place")
@pytest.mark.parametrize("client", ["refuse", "mask"])
@pytest.mark.parametrize("name", REQUESTS)
def test_no_request_brings_the_value_to_the_provider(gateway, upstream, client, name):
    upstream.script(*[Script(text="fine")] * 2)
    written = REQUESTS[name].replace("{", '{"model": "on-chat", ', 1)
    for body, headers in ((written.encode(), {}), (gzip.compress(written.encode()), {"content-encoding": "gzip"})):
        status = send(gateway, client, body, **headers)
        assert status in ((400,) if client == "refuse" else (200, 400))
        for seen in upstream.seen:
            assert "alcon-7" not in text_in(seen.body), seen.body
