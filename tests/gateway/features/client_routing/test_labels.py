"""End users and tags of LiteLLM's clients: in the log, and not at the provider."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.features.client_routing.labels import LONGEST, MOST_TAGS, read_labels
from gateway.request.client_request import ClientRequest
from gateway.request.parse import read_incoming
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, exchanges, provider
from tests.support.upstreams import Script, Upstream

HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def labels(*headers: tuple[str, str], **members: Any) -> Any:
    body = json.dumps({**HELLO, **members}).encode()
    return read_labels(ClientRequest(headers, ""), read_incoming("chat", body))


@each_row(
    ("found", "expected"),
    [
        (labels(), {}),
        (labels(user="ada"), {"end_user": "ada"}),
        (labels(("x-litellm-end-user-id", "ben"), user="ada"), {"end_user": "ben"}),
        (labels(metadata={"user_id": "eve"}), {"end_user": "eve"}),
        (labels(user="x" * (LONGEST + 1)), {}),
        (labels(user=7, metadata=[1]), {}),
        (labels(tags=["a", "b", 3, "a"]), {"tags": ["a", "b"]}),
        (labels(("x-litellm-tags", "a, b"), metadata={"tags": ["c"]}), {"tags": ["a", "b", "c"]}),
        (labels(litellm_metadata={"tags": ["d"]}), {"tags": ["d"]}),
        (labels(tags=[str(number) for number in range(99)]), {"tags": [str(number) for number in range(MOST_TAGS)]}),
    ],
)
def test_labels_are_read_from_the_same_positions_as_in_litellm(found, expected):
    assert found == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(user=JSON, tags=JSON, metadata=JSON)
def test_no_value_raises(user, tags, metadata):
    found = labels(user=user, tags=tags, metadata=metadata, litellm_metadata=metadata)
    assert found.keys() <= {"end_user", "tags"}


def ask(gateway: Gateway, upstream: Upstream, path: str = "/v1/chat/completions", **members: Any) -> Any:
    upstream.script(Script("Hi."))
    reply = gateway.request("POST", path, {**HELLO, **members})
    assert reply.status == 200, reply.body
    (seen,) = upstream.seen
    return seen.json


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_labels_are_in_the_log_and_never_reach_the_provider(upstream, api):
    maker = {"chat": "openai/gpt-5", "messages": "anthropic/claude-sonnet-4-5"}[api]
    entry = provider(maker, upstream.url, [api], name="m")
    path = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}[api]
    more = {"max_tokens": 9} if api == "messages" else {}
    with gateway_thread(config([entry], client_routing=["litellm"])) as gateway:
        metadata = {"user_id": "ada", "tags": ["job:1"], "trace": {"id": 1}}
        sent = ask(gateway, upstream, path, metadata=metadata, tags=["x"], litellm_session_id="s", **more)
        plain = ask(gateway, upstream, path, metadata={"user_id": "ada"}, **more)
    assert sent["metadata"] == {"user_id": "ada"}
    assert sent.keys().isdisjoint(("tags", "litellm_session_id", "litellm_metadata"))
    assert plain["metadata"] == {"user_id": "ada"}
    first, second = exchanges(gateway.log)
    assert (first["end_user"], first["tags"]) == ("ada", ["x", "job:1"])
    assert (second["end_user"], "tags" in second) == ("ada", False)


def test_without_the_litellm_setting_no_labels_are_read(upstream):
    entry = provider("openai/gpt-5", upstream.url, ["chat"], name="m")
    with gateway_thread(config([entry])) as gateway:
        sent = ask(gateway, upstream, metadata={"tags": ["a"]}, user="ada")
    assert (sent["metadata"], sent["user"]) == ({"tags": ["a"]}, "ada")
    (line,) = exchanges(gateway.log)
    assert "tags" not in line
    assert "end_user" not in line
