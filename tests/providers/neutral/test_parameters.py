"""Scalar settings between the three APIs."""

import pytest

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops, Fields
from providers.neutral.parameters import BY_NAME, ROWS, read_parameters, write_parameters
from providers.neutral.request import Parameter, Request
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import APIS
from tests.support.cases import case
from tests.support.each_row import each_row

SAMPLE = {int: 7, float: 0.5, str: "x", bool: True, list: ["x"], dict: {"a": "b"}, object: "any"}

IN_NO_TABLE = ("guardrail", "prompt_variables", "sealed_summary")  # their own API alone writes and must honour them


def translate(api, body, to, skip=()):
    call = Request(api, "m", (), parameters=read_parameters(Fields(body), api))
    out, drops = {}, Drops()
    write_parameters(call, to, out, drops, skip)
    return out, drops.paths()


def test_names_are_unique_and_every_row_belongs_somewhere():
    assert len(BY_NAME) == len(ROWS)
    for row in ROWS:
        assert row.name in IN_NO_TABLE or any(row.field(api) for api in APIS), row.name
    for api in APIS:
        fields = [row.field(api) for row in ROWS if row.field(api)]
        assert len(fields) == len(set(fields))


def test_a_setting_returns_to_its_own_api_unchanged():
    for api in APIS:
        for row in ROWS:
            with case((row, api)):
                field = row.field(api)
                if not field:
                    assert row.name not in read_parameters(Fields({row.name: SAMPLE[row.kind]}), api)
                    continue
                body = {field: SAMPLE[row.kind]}
                assert translate(api, body, api) == (body, ())


CROSSINGS = [(row, a, b) for row in ROWS for a in APIS for b in APIS if a != b and row.field(a)]


@each_row("row, api, to", CROSSINGS)
def test_a_setting_is_translated_reported_or_refused(row, api, to):
    body = {row.field(api): SAMPLE[row.kind]}
    if row.field(to):
        assert translate(api, body, to) == ({row.field(to): SAMPLE[row.kind]}, ())
    elif row.must:
        with pytest.raises(GatewayError) as raised:
            translate(api, body, to)
        assert raised.value.info.param == row.field(api)
        assert raised.value.info.status == 400
    else:
        assert translate(api, body, to) == ({}, (row.field(api),))


def test_a_dropped_default_is_not_reported():
    body = {"n": 1, "frequency_penalty": 0, "logprobs": False, "service_tier": "auto"}
    assert translate("chat", body, "messages") == ({"service_tier": "auto"}, ())


def test_null_counts_as_absent():
    assert read_parameters(Fields({"temperature": None, "seed": None}), "chat") == {}


def test_numbers_keep_their_spelling():
    out, _ = translate("messages", {"temperature": 1, "top_p": 1.0}, "chat")
    assert [type(out["temperature"]), type(out["top_p"])] == [int, float]


@each_row(("field", "value"), [("temperature", "hot"), ("max_tokens", 1.5), ("top_k", True)])
def test_a_wrong_type_is_a_400_with_the_path_of_the_field(field, value):
    with pytest.raises(GatewayError) as raised:
        read_parameters(Fields({field: value}), "messages")
    assert raised.value.info.param == field


def test_the_codec_can_keep_a_setting_for_itself():
    assert translate("messages", {"max_tokens": 5, "top_k": 2}, "chat", skip=("max_tokens", "top_k")) == ({}, ())


def test_a_control_knows_the_clients_own_name():
    found = read_parameters(Fields({"max_completion_tokens": 9}), "chat")
    assert found == {"max_tokens": Parameter(9, "max_completion_tokens")}


@each_row("stop", ["END", ["END", "STOP"]])
def test_chat_accepts_one_stop_string_or_several(stop):
    """Chat allows both forms, Messages only the list."""
    out, dropped = translate("chat", {"stop": stop}, "messages")
    assert out == {"stop_sequences": [stop] if isinstance(stop, str) else stop}
    assert dropped == ()


@each_row("provider", ["chat", "gemini", "converse", "interactions"])
def test_a_paid_answer_is_no_substitute_for_a_warmed_cache(provider):
    """decolua/9router#560, anomalyco/opencode#37964."""
    body = {"model": "m", "input": "hi", "prompt_cache_options": {"prewarm": True, "ttl": "30m"}}
    with pytest.raises(GatewayError, match="cannot warm a cache without a response") as caught:
        CODECS[provider].write_request(CODECS["responses"].read_request(body), Recipient("m", Issuer("p", "")))
    assert (caught.value.info.status, caught.value.info.param) == (400, "prompt_cache_options.prewarm")
