"""Members that occur twice, or in another case: the provider must get exactly the request that the gateway checked
(https://bishopfox.com/blog/json-interoperability-vulnerabilities)."""

import json
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request import members as checks
from gateway.request.further_models import ANY, CHOOSING, ROWS, further_models
from gateway.request.members import KNOWN, check_members
from gateway.request.parse import decode_members, read_incoming
from streams.errors import GatewayError
from streams.events import Api
from tests.support.each_row import each_row
from tests.support.sdk_fields import NOT_IN_BODY, PARAMS

TURN = '"messages":[{"role":"user","content":"hi"}]'


def refusal(body: str) -> tuple[str | None, str]:
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    with pytest.raises(GatewayError) as caught:
        check_members(body.encode(), members)
    assert caught.value.info.status == 400
    return caught.value.info.param, caught.value.info.message


@each_row(
    "body",
    [
        '{"model":"big",TURN,"model":"small"}',
        '{"model":"small","model":"small",TURN}',
        '{ "model" : "big" , "model" : "small" }',
        '{"model":"big","mod\\u0065l":"small"}',
        '{"mod\\u0065l":"big","model":"small"}',
        '{"model":1,"model":10}',
        '{"model":"a","model":"ab"}',
        '{"model":{"a":1},"model":{"a":1}}',
        '\n{\t"x":[1,2],\r\n"model":null,"model":null}',
        '{"model":"","model":""}',
        '{"a":"\\"model\\":1,","model":"x","b":1,"model":"x"}',
    ],
)
def test_a_duplicate_member_is_rejected_by_name(body):
    name, message = refusal(body.replace("TURN", TURN))
    assert name == "model"
    assert "model appears twice" in message
    assert "remove one" in message


@each_row("part", ["x", '\\"', "\\\\", "\\u0041"])
def test_member_names_of_any_length_are_distinguished(part):
    name = part * 5000
    once = f'{{ "{name}": 1, "{name}x": 1, "model": 1}}'
    check_members(once.encode(), msgspec.json.decode(once, type=dict[str, msgspec.Raw]))
    refusal(f'{{ "{name}": 1, "{name}": 1}}')
    assert refusal(f'{{ "{name}": 1, "model": 1, "model": 1}}')[0] == "model"


def test_any_other_member_too():
    assert refusal('{"a":1,"b":2,"a":1}')[0] == "a"
    assert refusal('{"":1,"":1}')[0] == ""
    assert refusal('{"' + "x" * 9000 + '":1,"' + "x" * 9000 + '":1}')[0] == "x" * 100


@each_row(
    ("name", "meant"),
    [
        ("Model", "model"), ("MODEL", "model"), ("Previous_Response_Id", "previous_response_id"), ("N", "n"),
        ("Store", "store"), ("models".upper(), "models"), ("\u017ftream", "stream"), ("thin\u212aing", "thinking"),
    ],
)  # fmt: skip
def test_a_known_member_in_another_case_is_refused_by_name(name, meant):
    """Go folds the case of these, including the last two (https://pkg.go.dev/strings#EqualFold)."""
    param, message = refusal(json.dumps({"model": "small", name: "big"}))
    assert param == meant
    assert f"write {meant}" in message


@each_row("api", ["chat", "messages", "responses", "interactions"])
def test_every_member_of_the_sdks_is_known(api):
    """The members of Gemini and Converse have capital letters, so other cases of them are not compared."""
    assert set(get_type_hints(PARAMS[api])) - set(NOT_IN_BODY.get(api, ())) - KNOWN == set()


def test_every_member_that_may_name_a_model_is_known_and_has_its_reason():
    for member, reason in (*ROWS.items(), *CHOOSING.items()):
        assert len(reason) > 3
        assert member in KNOWN or member in ("extra_body", "providerOptions")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


SMALL = st.sampled_from([0, 2**16])
"""Sizes up to which a body is encoded again; larger ones are compared member by member."""


@given(
    st.dictionaries(st.text(max_size=3).filter(lambda name: name.casefold() not in KNOWN) | st.just("model"), JSON),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), ("\t,\n", " : ")]),
    SMALL,
)
def test_unique_members_pass_however_they_are_written(value, indent, ascii, separators, small):
    body = json.dumps(value, indent=indent, ensure_ascii=ascii, separators=separators).encode("utf-8", "surrogatepass")
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:  # half a character
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_SMALL", small)
        check_members(body, members)


@given(st.lists(st.tuples(st.sampled_from("abc"), JSON), min_size=1), st.booleans(), SMALL)
def test_a_duplicate_member_is_found_with_any_values(pairs, compact, small):
    comma, colon = (",", ":") if compact else (", ", ": ")
    body = "{" + comma.join(json.dumps(name) + colon + json.dumps(value) for name, value in pairs) + "}"
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_SMALL", small)
        if len(members) < len(pairs):
            refusal(body)
        else:
            check_members(body.encode(), members)


# Every way of reading a request


@each_row("api", ["chat", "messages", "responses"])
@each_row("more", ['"model":"small"', '"Model":"big"', '"stream":false,"stream":true'])
def test_no_api_accepts_duplicate_members(api: Api, more):
    said = '"input":"hi"' if api == "responses" else TURN
    with pytest.raises(GatewayError) as caught:
        read_incoming(api, f'{{"model":"big",{said},{more}}}'.encode())
    assert (caught.value.info.status, caught.value.info.kind) == (400, "invalid_request")


# Other models of a request


def other_models(**members: Any) -> tuple[tuple[str, str], ...]:
    body = {"model": "small", "messages": [{"role": "user", "content": "model"}], **members}
    return further_models(read_incoming("chat", json.dumps(body).encode()))


@each_row(
    ("members", "named"),
    [
        ({}, ()),
        ({"models": ["a", "b"]}, (("models[]", "a"), ("models[]", "b"))),
        ({"models": "a"}, (("models", "a"),)),
        ({"fallbacks": ["a", {"model": "b", "max_tokens": 1}]}, (("fallbacks[]", "a"), ("fallbacks[].model", "b"))),
        ({"fallbacks": "default"}, (("fallbacks", ANY),)),
        ({"fallbacks": [{"a": ["b", "c"]}]}, (("fallbacks[].a[]", "b"), ("fallbacks[].a[]", "c"))),
        ({"fallbacks": [{"model": "b", "stop": ["x"]}]}, (("fallbacks[].model", "b"),)),
        ({"context_window_fallbacks": [{"a": ["b"]}]}, (("context_window_fallbacks[].a[]", "b"),)),
        ({"content_policy_fallbacks": [{"a": ["b"]}]}, (("content_policy_fallbacks[].a[]", "b"),)),
        ({"providerOptions": {"gateway": {"models": ["b"]}}}, (("providerOptions.gateway.models[]", "b"),)),
        ({"user_config": {"model_list": []}}, (("user_config", ANY),)),
        ({"route": "fallback"}, (("route", ANY),)),
        ({"route": None, "models": None}, ()),
        ({"preset": "big"}, (("preset", ANY),)),
        ({"plugins": [{"id": "auto-router", "allowed_models": ["x/*"]}]}, (("plugins[].allowed_models[]", "x/*"),)),
        ({"tools": [{"type": "image_generation", "model": "img"}]}, (("tools[].model", "img"),)),
        ({"tools": [{"type": "advisor", "Model": "big"}]}, (("tools[].Model", "big"),)),
        ({"moderation": {"model": "judge"}}, (("moderation.model", "judge"),)),
        ({"extra_body": {"x": {"fallbacks": ["b"]}}}, (("extra_body.x.fallbacks[]", "b"),)),
        ({"compound_custom": {"models": {"answering_model": "b"}}}, (("compound_custom.models.answering_model", "b"),)),
        ({"metadata": {"model": "a note"}, "user": "model"}, ()),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": {"model": "x"}}}}]}, ()),
        ({"tools": [{"name": "f", "input_schema": {"properties": {"model": {"type": "string"}, "Model": {}}}}]}, ()),
    ],
)  # fmt: skip
def test_additional_models_are_found_where_providers_read_them(members, named):
    assert other_models(**members) == named


@pytest.mark.parametrize(
    "tool", ['{"type":"x","model":"small","model":"big"}', '{"model":"small","Model":"big"}', '{"type":"a","type":"b"}']
)
def test_a_member_that_may_name_a_model_must_be_unique(tool):
    body = f'{{"model":"small",{TURN},"tools":[{tool}]}}'
    with pytest.raises(GatewayError) as caught:
        further_models(read_incoming("chat", body.encode()))
    assert (caught.value.info.status, caught.value.info.param) == (400, "tools")


def test_numbers_are_not_read_twice():
    """Python takes quadratic time over the digits of an integer, and raises beyond 4,300 of them (CVE-2020-10735)."""
    with pytest.raises(GatewayError) as caught:
        further_models(read_incoming("chat", f'{{"model":"small",{TURN},"tools":[{"9" * 5000}]}}'.encode()))
    assert caught.value.info.status == 400


def test_a_member_that_is_too_large_to_search_is_rejected():
    with pytest.raises(GatewayError) as caught:
        other_models(tools=["x" * (8 * 2**20)])
    assert (caught.value.info.status, caught.value.info.param) == (413, "tools")


def test_an_empty_body_is_reported_as_empty():
    with pytest.raises(GatewayError, match="the request body is empty: send a JSON object"):
        decode_members(b"")
