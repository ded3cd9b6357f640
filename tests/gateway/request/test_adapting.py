"""A client's own request to a provider of its API: only members that the provider would refuse are edited."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config_files.loading import from_mapping
from gateway.request.parse import read_incoming
from gateway.request.prepare import prepare
from gateway.routing.router import Router
from providers.apis import CODECS
from providers.catalog import providers as catalog
from providers.catalog.models import quirks_of
from providers.catalog.providers import CATALOG
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import Draft, dropped_paths
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from streams.events import Api
from tests.support.each_row import each_row
from tests.support.recordings import ABSENT, Recording, answers

LIMITS = ("max_tokens", "max_completion_tokens")
CHAT_ROWS = [row for row in CATALOG.values() if row.speaks.get("chat") == "chat"]
USER = {"role": "user", "content": "Hi"}


def adapt_for(model: str, body: dict[str, Any], api: Api = "chat", **entry: Any) -> Outgoing:
    """Return the outgoing request for ``body``, which requests ``model`` by its full name."""
    item = {"model": model, "base_url": "http://127.0.0.1:9/v1", "access_key": "k", "speaks": [api], **entry}
    config = from_mapping({"version": "v0.3.0", "listeners": [{"type": "model", "port": 1}], "model_providers": [item]})
    incoming = read_incoming(api, json.dumps({"model": model, **body}).encode())
    target = Router(config).resolve(model, api)
    assert target.lane == "byte"
    return prepare(incoming, target).outgoing


def chat(model: str, entry: dict[str, Any] | None = None, **members: Any) -> tuple[dict[str, Any], Outgoing]:
    """Return the body of an outgoing Chat request with ``members``, and the request itself."""
    outgoing = adapt_for(model, {"messages": [USER], **members}, **(entry or {}))
    body = json.loads(outgoing.body)
    del body["model"]
    assert body.pop("messages") == [USER]
    return body, outgoing


# Edits for the known quirks of providers


@each_row("row", CHAT_ROWS, ids=lambda row: row.id)
def test_the_token_limit_has_the_name_that_the_provider_knows(row):
    for name in LIMITS:
        body, outgoing = chat(f"{row.id}/some-model", **{name: 100})
        if row.known.max_tokens_field == "max_tokens":
            assert body == {"max_tokens": 100}
            assert outgoing.adapted == (() if name == "max_tokens" else ("max_completion_tokens->max_tokens",))
        else:
            assert body == {name: 100}, "both are taken"
            assert outgoing.adapted == ()
        assert outgoing.dropped == ()


@each_row("row", CHAT_ROWS, ids=lambda row: row.id)
def test_the_role_developer_is_system_where_it_is_not_known(row):
    messages = [{"role": "developer", "content": "a  developer", "x": 1.0}, USER]
    outgoing = adapt_for(f"{row.id}/some-model", {"messages": messages})
    role = "developer" if row.known.developer_role else "system"
    assert json.loads(outgoing.body)["messages"] == [{**messages[0], "role": role}, USER]
    assert outgoing.adapted == (() if role == "developer" else ("messages[].role=system",))


@pytest.mark.parametrize("row", [row for row in CHAT_ROWS if row.quirks.refused_fields], ids=lambda row: row.id)
def test_members_that_the_provider_refuses_do_not_go_out_and_are_reported(row):
    tops = [name for name in row.quirks.refused_fields if name.isidentifier()]
    body, outgoing = chat(f"{row.id}/some-model", **dict.fromkeys(tops, True), seed=1)
    assert body == {"seed": 1}
    assert sorted(outgoing.dropped) == sorted(tops)


# Edits for the known quirks of models


@each_row("provider", ["openai", "azure_openai", "github", "vercel", "somebody"])
@each_row("model", ["o3", "o4-mini-2025-04-16", "gpt-5", "gpt-5.4-mini", "openai/gpt-5.1", "gpt-6"])
def test_a_reasoning_model_gets_the_limit_under_the_newer_name(provider, model):
    body, outgoing = chat(f"{provider}/{model}", max_tokens=100)
    assert body == {"max_completion_tokens": 100}
    assert outgoing.adapted == ("max_tokens->max_completion_tokens",)


def test_both_names_in_one_request_become_one():
    body, outgoing = chat("openai/o3", max_tokens=100, max_completion_tokens=200)
    assert body == {"max_completion_tokens": 200}
    assert (outgoing.dropped, outgoing.adapted) == (("max_tokens",), ())


@pytest.mark.parametrize(("model", "asked", "goes"), [("openai/o3", *LIMITS), ("mistral/m", *reversed(LIMITS))])
def test_a_limit_is_not_lost_to_a_null_under_the_other_name(model, asked, goes):
    for members in ({asked: 100, goes: None}, {goes: None, asked: 100}):
        body, outgoing = chat(model, **members)
        assert body == {goes: 100}
        assert (outgoing.dropped, outgoing.adapted) == ((), (f"{asked}->{goes}",))


def test_sampling_that_a_reasoning_model_refuses_is_left_out_and_reported():
    sampling = {"temperature": 0.2, "top_p": 0.9, "presence_penalty": 1, "frequency_penalty": 0.5, "logprobs": True}
    body, outgoing = chat("openai/o3", **sampling, seed=7)
    assert body == {"seed": 7}
    assert set(outgoing.dropped) == set(sampling)


def test_sampling_with_default_values_stays():
    members = {"temperature": 1, "top_p": 1.0, "presence_penalty": 0, "logprobs": False}
    body, outgoing = chat("openai/o3", **members)
    assert (body, outgoing.dropped) == (members, ())


@pytest.mark.parametrize(("effort", "kept"), [("none", True), (None, True), ("low", False)])
def test_sampling_of_a_model_that_takes_it_unless_it_thinks(effort, kept):
    more = {} if effort is None else {"reasoning_effort": effort}
    body, outgoing = chat("openai/gpt-5.4", temperature=0.2, **more)
    assert body == ({"temperature": 0.2, **more} if kept else more)
    assert outgoing.dropped == (() if kept else ("temperature",))


@each_row(
    ("model", "asked", "goes"),
    [("openai/o3", "xhigh", "high"), ("openai/gpt-5", "none", None), ("openai/gpt-5.1", "low", "low"),
     ("openai/o3", "a-new-level", "a-new-level"), ("openai/gpt-4o", "high", "high")],
)  # fmt: skip
def test_an_effort_that_the_model_does_not_know_is_the_nearest_lower_one(model, asked, goes):
    body, outgoing = chat(model, reasoning_effort=asked)
    assert body == ({} if goes is None else {"reasoning_effort": goes})
    assert outgoing.dropped == (() if goes == asked else ("reasoning_effort",))
    assert outgoing.adapted == (() if goes in (asked, None) else (f"reasoning_effort={goes}",))


def test_the_other_apis_lower_an_effort_too():
    outgoing = adapt_for("openai/o3", {"input": "Hi", "reasoning": {"effort": "xhigh", "summary": "auto"}}, "responses")
    assert json.loads(outgoing.body)["reasoning"] == {"summary": "auto", "effort": "high"}
    assert outgoing.dropped == ("reasoning.effort",)
    body = {"messages": [USER], "max_tokens": 9, "output_config": {"effort": "xhigh"}}
    outgoing = adapt_for("anthropic/claude-sonnet-4-6", body, "messages")
    assert json.loads(outgoing.body)["output_config"] == {"effort": "high"}
    assert outgoing.adapted == ("output_config.effort=high",)


def test_a_reasoning_model_of_responses_gets_no_sampling():
    outgoing = adapt_for("openai/o3", {"input": "Hi", "temperature": 0.1, "top_p": 1, "top_logprobs": 0}, "responses")
    assert "temperature" not in json.loads(outgoing.body)
    assert outgoing.dropped == ("temperature",)


# Unknown models and providers

EVERYTHING = {
    "messages": [{"role": "developer", "content": "Be brief."}, USER], "max_completion_tokens": 5, "max_tokens": 6,
    "temperature": 0.1, "reasoning_effort": "xhigh", "store": True, "stream": True,
}  # fmt: skip


@pytest.mark.parametrize("interface", [{}, {"provider_interface": "openai"}])
def test_an_unknown_provider_gets_the_clients_request_unchanged(interface):
    asked = {**EVERYTHING, "stream": not interface}
    outgoing = adapt_for("somebody/llama", asked, **interface)
    assert list(json.loads(outgoing.body).items()) == [("model", "llama"), *asked.items()]
    assert (outgoing.dropped, outgoing.adapted) == ((), ())


def test_configured_quirks_apply():
    quirks = {"max_tokens_field": "max_completion_tokens", "developer_role": False, "refused_fields": ["store"]}
    outgoing = adapt_for("somebody/llama", {**EVERYTHING, "max_completion_tokens": None}, quirks=quirks)
    body = json.loads(outgoing.body)
    assert body["messages"][0]["role"] == "system"
    assert "store" not in body
    assert (body.get("max_tokens"), body["max_completion_tokens"]) == (None, 6)
    assert outgoing.dropped == ("store",)
    assert "max_tokens->max_completion_tokens" in outgoing.adapted


# Usage of a stream


@each_row(
    ("model", "entry", "asks"),
    [("openai/m", {}, True), ("mistral/m", {}, False), ("deepseek/m", {}, True), ("somebody/m", {}, False),
     ("somebody/m", {"provider_interface": "openai"}, True), ("somebody/m", {"quirks": {"stream_usage": True}}, True),
     ("openai/m", {"usage": "as_asked"}, False)],
)  # fmt: skip
def test_stream_usage_is_requested_from_providers_known_to_report_it(model, entry, asks):
    body, outgoing = chat(model, entry, stream=True)
    assert body == {"stream": True, **({"stream_options": {"include_usage": True}} if asks else {})}
    assert outgoing.asks_usage == asks
    assert outgoing.adapted == (("stream_options.include_usage=true",) if asks else ())


@pytest.mark.parametrize("options", [{"include_usage": False, "include_obfuscation": False}, {}, None])
def test_other_stream_options_stay_with_include_usage(options):
    body, outgoing = chat("openai/m", stream=True, stream_options=options)
    assert body["stream_options"] == {**(options or {}), "include_usage": True}
    assert outgoing.asks_usage


def test_the_request_of_a_client_that_wants_usage_stays_unchanged():
    members = {"stream": True, "stream_options": {"include_usage": True}}
    body, outgoing = chat("openai/m", **members)
    assert (body, outgoing.asks_usage, outgoing.adapted) == (members, False, ())
    body, outgoing = chat("openai/m", stream=False)
    assert (body, outgoing.asks_usage) == ({"stream": False}, False)


def test_stream_options_do_not_go_where_they_are_refused():
    quirks = {"quirks": {"stream_usage": False}}
    body, outgoing = chat("openai/m", quirks, stream=True, stream_options={"include_usage": True})
    assert (body, outgoing.dropped) == ({"stream": True}, ("stream_options",))


# Requests that providers have accepted


@pytest.mark.skipif(not answers(), reason=ABSENT)
def test_a_request_that_its_provider_took_loses_nothing():
    """The rows compared with recordings: real requests, each answered well by their provider."""
    asked = [one for one in answers() if one.request is not None]
    assert len(asked) >= (18 if all(one.own for one in asked) else 200)
    lost = {one.name: found for one in asked if (found := _lost_members(one))}
    assert lost == {}


def _lost_members(recording: Recording) -> tuple[str, ...]:
    row = catalog.find(recording.provider) or catalog.generic(recording.provider)
    assert recording.request is not None
    draft = Draft.of(recording.request)
    model = draft.value("model") or ""
    to = Recipient(model, Issuer("x", ""), quirks_of(row.quirks, model), quirks_of(row.known, model))
    CODECS[recording.api].adapt(draft, to)
    return dropped_paths(draft.edits)


# Byte by byte

RAW_VALUES = st.sampled_from(
    [b"1.0", b"1e2", b'"caf\\u00e9"', b"[ ]", b'{"b" : 1,  "a":2}', b"null", b"18446744073709551616"]
)
MEMBERS = st.dictionaries(st.sampled_from("abcdefgh"), RAW_VALUES, max_size=8)


@given(before=MEMBERS, after=MEMBERS)
def test_everything_unedited_keeps_its_order_and_its_bytes(before, after):
    def body(name: str, limit: bytes, role: bytes) -> bytes:
        message = b'{"content":"x\\/y" , "role":%b,"z":[ 1.50 ]}' % role
        other = b'{"role":"user","content":"developer"}'
        middle = {name: limit, "messages": b"[%b,%b]" % (message, other)}
        members = {**before, **middle, **{key: value for key, value in after.items() if key not in before}}
        return b"{%b}" % b",".join(b'"%b":%b' % (key.encode(), value) for key, value in members.items())

    draft = Draft.of(body("max_completion_tokens", b"5", b'"developer"'))
    known = Quirks(max_tokens_field="max_tokens", developer_role=False)
    CODECS["chat"].adapt(draft, Recipient("m", Issuer("x", ""), known, known))
    plain = body("max_tokens", b"5", b'"system"').replace(b'{"content":"x\\/y" , "role"', b'{"content":"x\\/y","role"')
    assert draft.encode() == plain
    untouched = Draft.of(body("max_tokens", b"5", b'"user"'))
    CODECS["chat"].adapt(untouched, Recipient("m", Issuer("x", ""), known, known))
    assert untouched.encode() == body("max_tokens", b"5", b'"user"')
    assert not untouched.changed
