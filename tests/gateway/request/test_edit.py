"""A client's own request on its way to a provider of the same API: decoded once, encoded once, each edit listed."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from gateway.config_files.loading import from_mapping
from gateway.request.parse import Incoming, PathParameters, read_incoming
from gateway.request.prepare import prepare
from gateway.routing.router import Router
from gateway.routing.target import Omissions, Target
from providers.neutral.draft import Body, Edit
from providers.neutral.seal import Issuer, seal
from streams.events import Api

SEALED = seal(Issuer("another", ""), "responses", {"type": "reasoning"})


def to(model: str, api: Api = "chat", **entry: Any) -> Target:
    item = {"model": model, "base_url": "http://127.0.0.1:9", "access_key": "k", "speaks": [api], **entry}
    config = from_mapping({"version": "v0.3.0", "model_providers": [item]})
    return Router(config).resolve(model, api)


def receive(**members: Any) -> Incoming:
    return read_incoming("chat", json.dumps(members).encode())


@contextmanager
def json_work() -> Iterator[Counter[str]]:
    """Count every decoding and encoding of JSON, by any module."""
    found: Counter[str] = Counter()

    def see(frame: object, event: str, function: Any) -> None:
        if event == "c_call" and not isinstance(getattr(function, "__self__", None), str | bytes):
            found.update(word for word in ("decode", "encode") if function.__name__.endswith(word))

    sys.setprofile(see)
    try:
        yield found
    finally:
        sys.setprofile(None)


def test_a_request_that_needs_no_edit_is_neither_decoded_nor_encoded():
    incoming = receive(model="some-model", messages=[{"role": "user", "content": "Hi"}], temperature=1.0)
    target = attrs.evolve(to("openai/some-model", usage="as_asked"), model="some-model")
    with json_work() as found:
        prepared = prepare(incoming, target)
    assert prepared.outgoing.body is incoming.body
    assert prepared.outgoing.edits == ()
    assert not found


def test_a_client_s_credential_in_the_body_reaches_no_provider_with_a_key():
    """It would replace the gateway's own (BerriAI/litellm#36794)."""
    incoming = receive(model="some-model", api_key="another", messages=[{"role": "user", "content": "Hi"}])
    found = prepare(incoming, to("openai/some-model")).outgoing
    assert "api_key" not in json.loads(found.body)
    assert [edit.path for edit in found.edits] == ["api_key"]
    own = to("openai/some-model", access_key=None, passthrough_auth=True)
    assert json.loads(prepare(incoming, own).outgoing.body)["api_key"] == "another"


def test_changing_the_model_costs_one_encode():
    incoming = receive(model="alias", messages=[{"role": "user", "content": "Hi"}])
    target = to("openai/some-model", usage="as_asked")
    with json_work() as found:
        prepared = prepare(incoming, target)
    assert json.loads(prepared.outgoing.body)["model"] == "some-model"
    assert found == {"encode": 1}


def test_a_model_in_the_path_is_removed_from_the_body():
    """The client's grants were checked for the name in the path: ``GenerateContentRequest`` has one besides
    (https://ai.google.dev/api/generate-content)."""
    cases = (("gemini/small", "gemini", "contents"), ("amazon_bedrock/small", "converse", "messages"))
    for entry, api, conversation in cases:
        body = b'{"%b": [{"a": 1.0}], "model": "models/big", "x": 1e2}' % conversation.encode()
        incoming = read_incoming(api, body, PathParameters(model=entry))
        prepared = prepare(incoming, to(entry, api))
        assert "model" not in json.loads(prepared.outgoing.body), api
        assert b"1e2" in prepared.outgoing.body, api
        plain = b'{ "%b": [{"a": 1.0}]}' % conversation.encode()
        assert prepare(read_incoming(api, plain, PathParameters(model=entry)), to(entry, api)).outgoing.body == plain


def test_each_member_is_decoded_once_and_the_whole_is_encoded_once():
    """The searches for seals, known members and rejected members use the same values."""
    details = [{"type": "reasoning.encrypted", "data": SEALED}]
    members = {
        "model": "alias",
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Ho", "reasoning_details": details},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "strict": True}}],
        "temperature": 0.5,
        "user": "u",
        "max_completion_tokens": 9,
    }
    incoming = receive(**members)
    target = to("openai/some-model", quirks={"max_tokens_field": "max_tokens", "refused_fields": ["user"]})
    rejected = Omissions(paths=(("tools", "[]", "function", "strict"), ("temperature",)))
    with json_work() as found:
        outgoing = prepare(incoming, target, rejected).outgoing
    assert found["encode"] == 1
    assert found["decode"] <= len(members)
    assert outgoing.edits == (
        Edit("messages[].reasoning_details[]", why="seal"),
        Edit("user", why="provider"),
        Edit("tools[].function.strict", why="rejected"),
        Edit("temperature", why="rejected"),
        Edit("max_completion_tokens", lost=False, form="->max_tokens"),
    )
    assert outgoing.dropped == tuple(edit.path for edit in outgoing.edits[:4])
    assert outgoing.adapted == ("max_completion_tokens->max_tokens",)


def test_the_hub_lane_reads_the_same_values():
    """The neutral request is made from the members that were found when the body was read; it is not read again."""
    incoming = receive(model="alias", messages=[{"role": "user", "content": "Hi"}], temperature=0.5)
    with json_work() as found:
        assert incoming.request.parameters["temperature"].value == 0.5
        assert incoming.request is incoming.request
    assert found == {"decode": 3}


def test_a_value_is_decoded_only_on_first_use():
    body = Body.of(b'{"a": [1], "b": {"c": 2}}')
    with json_work() as found:
        assert body.value("b") == {"c": 2}
        assert body.value("b") is body.value("b")
        assert body.value("nothing") is None
    assert found == {"decode": 1}
