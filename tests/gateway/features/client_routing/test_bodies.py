"""Routing options in the request bodies of clients of other routers."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.attempts import Retries
from gateway.features.client_routing.bodies import read_options
from gateway.request.client_request import ClientRequest
from gateway.request.narrowing import narrow_candidates, narrow_retries
from gateway.request.parse import read_incoming
from gateway.request.prepare import prepare_with_options
from gateway.request.routing_options import NO_OPTIONS, RoutingOptions
from streams.errors import GatewayError
from tests.support.each_row import each_row
from tests.support.routed_requests import (
    NOTHING,
    ROUTER,
    SEVERAL,
    candidates,
    chat,
    groups,
    headers,
    names,
    read_refusal,
)

ALL = ("openrouter", "vercel", "litellm")


def parse(*forms: str, api: str = "chat", asked: ClientRequest = NOTHING, **members: object) -> RoutingOptions:
    return read_options(asked, chat(api, **members), forms or ALL)  # type: ignore[arg-type]


def test_routing_members_need_the_client_routing_setting():
    incoming = chat(models=["a"], provider={"order": ["x"]}, fallbacks=["b"], providerOptions={"gateway": {}})
    assert read_options(NOTHING, incoming, ()) is NO_OPTIONS
    assert NO_OPTIONS.without_members_in(incoming) is incoming


def test_openrouter():
    # https://openrouter.ai/docs/features/provider-routing
    provider = {"order": ["azure"], "only": ["azure", "anthropic"], "ignore": ["openai"], "allow_fallbacks": False,
                "require_parameters": True, "sort": "price", "quantizations": ["fp8"],
                "max_price": {"prompt": 1, "completion": "2.5", "image": 3},
                "data_collection": "allow", "zdr": False}  # fmt: skip
    options = parse("openrouter", models=["second", "best"], route="fallback", provider=provider)
    assert names(options) == ["best", "second"]
    assert options.order == (("provider.order[0]", "azure"),)
    assert [word for _, word in options.only or ()] == ["azure", "anthropic"]
    assert options.ignored == (("provider.ignore[0]", "openai"),)
    assert (options.fallback, options.strict, options.balance, options.private) == ("off", True, "cheapest", None)
    assert options.dropped == ("provider.quantizations", "provider.max_price.image")
    assert options.max_prices == (("input", 10**9), ("output", 2_500_000_000))


def test_vercel():
    # https://vercel.com/docs/ai-gateway/models-and-providers/provider-filtering-and-ordering
    gateway = {"models": ["second"], "order": ["bedrock"], "only": ["azure"], "sort": "ttft", "user": "u"}
    incoming = chat(providerOptions={"gateway": gateway, "anthropic": {"effort": "low"}})
    options = read_options(NOTHING, incoming, ["vercel"])
    assert (names(options), options.balance) == (["best", "second"], "lowest_latency")
    assert (options.order, options.dropped) == (
        (("providerOptions.gateway.order[0]", "bedrock"),),
        ("providerOptions.gateway.user",),
    )
    left = json.loads(options.without_members_in(incoming).body)
    assert left["providerOptions"] == {"anthropic": {"effort": "low"}}


def test_litellm():
    # https://docs.litellm.ai/docs/proxy/client_side_fallbacks
    options = parse("litellm", fallbacks=["second"], num_retries=1, timeout=30, context_window_fallbacks=[{"a": ["b"]}])
    assert (names(options), options.max_repeats, options.deadline) == (["best", "second"], 1, 30)
    assert options.dropped == ("context_window_fallbacks",)
    assert parse("litellm", disable_fallbacks=True).fallback == "off"
    proxys = {"cache": {"no-cache": True}, "no-log": True, "drop_params": True, "allowed_openai_params": ["tools"]}
    assert set(parse("litellm", **proxys).dropped) == set(proxys)


def test_anthropics_own_fallbacks_are_not_read_as_litellms():
    # BerriAI/litellm#33294
    own = [{"model": "claude-sonnet-5"}]
    incoming = chat("messages", fallbacks=own, max_tokens=5)
    options = read_options(NOTHING, incoming, ALL)
    assert not options.names
    assert json.loads(options.without_members_in(incoming).body)["fallbacks"] == own


def test_null_counts_as_absent():
    nothing = dict.fromkeys(("models", "provider", "route", "providerOptions", "fallbacks", "num_retries", "timeout"))
    options = parse(**nothing, disable_fallbacks=None)
    assert (options.names, options.only, options.fallback, options.dropped) == ((), None, "as configured", ())


def test_unsupported_options_are_listed_and_not_sent_to_a_provider():
    incoming = chat(route="sort", provider={"sort": "throughput", "preferred_min_throughput": 5})
    options = read_options(NOTHING, incoming, ["openrouter"])
    assert options.dropped == ("provider.sort", "route", "provider.preferred_min_throughput")
    assert options.balance is None
    assert set(json.loads(options.without_members_in(incoming).body)) == {"model", "messages"}


def test_other_members_keep_their_order_and_their_bytes():
    body = b'{"seed": 1.0,"models":["x"],  "messages": [ {"role":"user","content":"\\u0041"} ],"model":"best"}'
    incoming = read_incoming("chat", body)
    options = read_options(NOTHING, incoming, ["openrouter"])
    stripped = options.without_members_in(incoming)
    assert stripped.body == b'{"seed":1.0,"messages":[ {"role":"user","content":"\\u0041"} ],"model":"best"}'
    assert options.members_for(ROUTER.resolve("gpt", "chat")) == {}
    sent = prepare_with_options(options, stripped, ROUTER.resolve("router", "chat"))
    assert json.loads(sent.outgoing.body) == {**json.loads(body), "model": "openai/gpt-5"}
    assert "models" not in json.loads(
        prepare_with_options(options, stripped, ROUTER.resolve("gpt", "chat")).outgoing.body
    )


NO_PRICES = ("cheap", -1, True, [], {}, "NaN", "Infinity")
MANY = 129 * ["gpt"]
"""Two megabytes of names took three seconds, during which the gateway answered no request."""


@each_row(
    ("members", "at"),
    [
        ({"models": "a"}, "models"),
        ({"models": ["a", 3]}, "models[1]"),
        ({"provider": []}, "provider"),
        ({"provider": {"order": "azure"}}, "provider.order"),
        ({"provider": {"only": [{}]}}, "provider.only[0]"),
        ({"provider": {"allow_fallbacks": "no"}}, "provider.allow_fallbacks"),
        ({"provider": {"sort": 3}}, "provider.sort"),
        ({"provider": {"data_collection": "never"}}, "provider.data_collection"),
        ({"providerOptions": {"gateway": {"order": [1]}}}, "providerOptions.gateway.order[0]"),
        ({"providerOptions": []}, "providerOptions"),
        ({"providerOptions": {"gateway": "fast"}}, "providerOptions.gateway"),
        ({"fallbacks": [{"model": "a", "messages": []}]}, "fallbacks[0]"),
        ({"num_retries": -1}, "num_retries"),
        ({"num_retries": "2"}, "num_retries"),
        ({"timeout": 0}, "timeout"),
        ({"disable_fallbacks": "yes"}, "disable_fallbacks"),
        *(({"provider": {"max_price": {"prompt": price}}}, "provider.max_price.prompt") for price in NO_PRICES),
        *(({"provider": {name: MANY}}, f"provider.{name}") for name in ("order", "only", "ignore")),
        ({"models": MANY}, "models"),
        ({"providerOptions": {"gateway": {"order": MANY}}}, "providerOptions.gateway.order"),
        ({"fallbacks": MANY}, "fallbacks"),
    ],
)
def test_an_invalid_option_is_rejected_with_its_path(members, at):
    kind, param, message = read_refusal(read_options, NOTHING, chat(**members), ALL)
    assert (kind, param) == ("invalid_request", at)
    assert at in message


def test_headers_take_precedence_over_the_body_and_both_narrow():
    options = parse("litellm", fallbacks=["b"], timeout=30, asked=headers(models="c", deadline="10s"))
    assert (names(options), options.deadline) == (["c"], 10)
    assert parse("litellm", timeout=5, asked=headers(deadline="10s")).deadline == 5
    assert parse("litellm", timeout=5, asked=headers(fallback="off")).fallback == "off"


# The targets that remain


@each_row(
    ("provider", "left"),
    [
        ({"order": ["openai", "azure"]}, ["gpt", "azure-eu azure-us", "sonnet"]),
        ({"order": ["azure-us"]}, ["azure-us", "sonnet", "azure-eu", "gpt"]),
        ({"order": ["Azure"], "allow_fallbacks": False}, ["azure-eu azure-us"]),
        ({"only": ["anthropic", "gpt"]}, ["sonnet", "gpt"]),
        ({"ignore": ["anthropic", "azure-eu"]}, ["azure-us", "gpt"]),
        ({"order": ["google-ai-studio"]}, ["sonnet", "azure-eu azure-us", "gpt"]),
        ({"allow_fallbacks": False}, ["sonnet"]),
        ({"max_price": {"prompt": 1.5}}, ["azure-eu azure-us", "gpt"]),
        ({"max_price": {"prompt": 100, "completion": "100"}}, ["sonnet", "azure-eu azure-us", "gpt"]),
        ({}, ["sonnet", "azure-eu azure-us", "gpt"]),
    ],
)
def test_options_match_entries_and_providers_by_name(provider, left):
    assert groups(narrow_candidates(SEVERAL, parse("openrouter", provider=provider))) == left


@each_row(
    ("provider", "at"),
    [
        ({"only": ["gemini"]}, "provider.only"),
        ({"ignore": ["sonnet", "azure", "openai"]}, "provider.ignore"),
        ({"order": ["gpt", "novita"]}, "provider.order[1]"),
        ({"ignore": ["opneai"]}, "provider.ignore[0]"),
        ({"order": ["argon"]}, "provider.order[0]"),  # an entry that the client may not use
        ({"max_price": {"completion": 0.5}}, "provider.max_price"),
        ({"zdr": True}, "provider.zdr"),
        ({"data_collection": "deny"}, "provider.data_collection"),
    ],
)
def test_an_option_that_excludes_all_targets_or_has_an_unknown_name_is_rejected(provider, at):
    options = parse("openrouter", provider=provider)
    assert read_refusal(narrow_candidates, SEVERAL, options)[:2] == ("invalid_request", at)


def test_a_router_that_knows_the_options_receives_them():
    both = candidates("sonnet", "router")
    options = parse("openrouter", provider={"only": ["deepinfra"], "order": ["deepinfra/turbo"]})
    assert groups(narrow_candidates(both, options)) == ["router"]
    private = parse("openrouter", provider={"zdr": True})
    assert groups(narrow_candidates(both, private)) == ["router"]


# Arbitrary bodies

WORDS = st.sampled_from(["sonnet", "azure", "openai", "gpt", "nobody", "", "price", "off", "default", "eu-*"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
OF_PROVIDER = ("order", "only", "ignore", "allow_fallbacks", "require_parameters", "sort", "data_collection", "zdr")
OF_BODY = ("models", "route", "provider", "providerOptions", "fallbacks", "num_retries", "timeout", "disable_fallbacks")
NAMED = st.dictionaries(st.sampled_from(OF_PROVIDER), ANYTHING | st.lists(WORDS, max_size=3))
BODIES = st.dictionaries(
    st.sampled_from(OF_BODY), ANYTHING | NAMED | NAMED.map(lambda inner: {"gateway": inner}) | st.lists(WORDS)
)


@given(BODIES, st.sampled_from(["chat", "messages", "responses"]))
def test_any_body_is_read_or_rejected_with_a_path(members, api):
    incoming = chat(api, **members, **({"input": "hi"} if api == "responses" else {}))
    try:
        options = read_options(NOTHING, incoming, ALL)
        left = narrow_candidates(SEVERAL, options)
    except GatewayError as error:
        failed = error.info
    else:
        failed = None
    if failed is not None:
        assert (failed.kind, failed.status) == ("invalid_request", 400)
        assert (failed.param or "").partition(".")[0].partition("[")[0] in members
        return
    assert {one.target.entry.name for one in left} <= {one.target.entry.name for one in SEVERAL}
    assert [one.group for one in left] == sorted(one.group for one in left)
    body = json.loads(options.without_members_in(incoming).body)
    assert not {"models", "provider", "route", "num_retries", "timeout", "disable_fallbacks"} & body.keys()
    assert "gateway" not in (body.get("providerOptions") or {})
    assert narrow_retries(Retries(), options, left).attempts <= Retries().attempts
