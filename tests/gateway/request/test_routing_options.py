"""What a request may say of where it goes: this gateway's headers, and the bodies of other routers' clients."""

import json
import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.aliases import Route
from gateway.config.attempts import Retries
from gateway.config.loading import from_mapping
from gateway.request.client_request import ClientRequest
from gateway.request.narrowing import join_plans, narrow_candidates, narrow_retries
from gateway.request.parse import Incoming, read_incoming
from gateway.request.prepare import prepare_with_options
from gateway.request.router_bodies import read_options
from gateway.request.routing_options import NO_OPTIONS, RoutingOptions
from gateway.routing.plan import ONCE, SINGLE_ATTEMPT, Candidate, Plan
from gateway.routing.router import Router
from streams.errors import GatewayError
from tests.support.each_row import each_row

ALL = ("openrouter", "vercel", "litellm")
CONFIG = from_mapping(
    {
        "version": "v0.4.0",
        "model_providers": [
            {"model": "anthropic/claude-sonnet-5", "name": "sonnet", "access_key": "k"},
            {"model": "azure_openai/gpt-5", "name": "azure-eu", "access_key": "k", "base_url": "https://eu.example"},
            {"model": "azure_openai/gpt-5", "name": "azure-us", "access_key": "k", "base_url": "https://us.example"},
            {"model": "openai/gpt-5", "name": "gpt", "access_key": "k"},
            {"model": "gemini/gemini-4-argon", "name": "argon", "access_key": "k"},
            {"model": "openrouter/openai/gpt-5", "name": "router", "access_key": "k"},
        ],
    }
)
ROUTER = Router(CONFIG)


def candidates(*groups: str) -> tuple[Candidate, ...]:
    """Those of the entries named in ``groups``, of which the members have a space between them."""
    return tuple(
        Candidate(ROUTER.resolve(name, "chat"), at) for at, group in enumerate(groups) for name in group.split()
    )


SEVERAL = candidates("sonnet", "azure-eu azure-us", "gpt")


def groups(found: tuple[Candidate, ...]) -> list[str]:
    names: dict[int, list[str]] = {}
    for one in found:
        names.setdefault(one.group, []).append(one.target.entry.name)
    return [" ".join(group) for group in names.values()]


def headers(**given: str) -> ClientRequest:
    return ClientRequest(tuple((f"x-trigate-{name}", value) for name, value in given.items()), "")


NOTHING = headers()


def chat(api: str = "chat", **members: object) -> Incoming:
    body = {"model": "best", "messages": [{"role": "user", "content": "hello"}], **members}
    return read_incoming(api, json.dumps(body).encode())  # type: ignore[arg-type]


def said(*forms: str, api: str = "chat", asked: ClientRequest = NOTHING, **members: object) -> RoutingOptions:
    return read_options(asked, chat(api, **members), forms or ALL)  # type: ignore[arg-type]


def names(options: RoutingOptions) -> list[str]:
    return [name for _, name in options.names]


def refused(function, *arguments) -> tuple[str, str | None, str]:
    with pytest.raises(GatewayError) as error:
        function(*arguments)
    assert error.value.info.status == 400
    return error.value.info.kind, error.value.info.param, error.value.info.message


# Headers


def test_a_request_without_routing_members_has_no_options():
    assert said() is NO_OPTIONS
    assert said(asked=headers(strict="1", run="r")) is NO_OPTIONS


def test_headers_are_read_without_any_setting():
    options = read_options(headers(models="a, b,, a", fallback="off", deadline="20s"), chat(), ())
    assert (names(options), options.fallback, options.deadline) == (["a", "b"], "off", 20.0)
    assert read_options(headers(fallback="ON"), chat(), ()).fallback == "as configured"


def test_duplicate_headers_all_apply():
    both = (*headers(models="a", fallback="off", deadline="9s").headers, *headers(models="b", fallback="on").headers)
    options = read_options(ClientRequest((*both, *headers(deadline="1m").headers), ""), chat(), ())
    assert (names(options), options.fallback, options.deadline) == (["a", "b"], "off", 9.0)


@each_row(
    ("name", "value", "words"),
    [
        ("models", " , ", "must have at least one model"),
        ("models", ",".join(f"m{i}" for i in range(33)), "send at most 32"),
        ("fallback", "no", "must be off or on, not 'no'"),
        ("deadline", "soon", "'soon'; expected a duration"),
        ("deadline", "0s", "above 0"),
        ("deadline", "-3s", "expected a duration"),
    ],
)
def test_an_invalid_header_is_rejected_with_its_name(name, value, words):
    kind, param, message = refused(read_options, headers(**{name: value}), chat(), ())
    assert (kind, param) == ("invalid_request", f"x-trigate-{name}")
    assert words in message


# Bodies


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
    options = said("openrouter", models=["second", "best"], route="fallback", provider=provider)
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
    options = said("litellm", fallbacks=["second"], num_retries=1, timeout=30, context_window_fallbacks=[{"a": ["b"]}])
    assert (names(options), options.max_repeats, options.deadline) == (["best", "second"], 1, 30)
    assert options.dropped == ("context_window_fallbacks",)
    assert said("litellm", disable_fallbacks=True).fallback == "off"
    proxys = {"cache": {"no-cache": True}, "no-log": True, "drop_params": True, "allowed_openai_params": ["tools"]}
    assert set(said("litellm", **proxys).dropped) == set(proxys)


def test_anthropics_own_fallbacks_are_not_read_as_litellms():
    # BerriAI/litellm#33294
    own = [{"model": "claude-sonnet-5"}]
    incoming = chat("messages", fallbacks=own, max_tokens=5)
    options = read_options(NOTHING, incoming, ALL)
    assert not options.names
    assert json.loads(options.without_members_in(incoming).body)["fallbacks"] == own


def test_null_counts_as_absent():
    nothing = dict.fromkeys(("models", "provider", "route", "providerOptions", "fallbacks", "num_retries", "timeout"))
    options = said(**nothing, disable_fallbacks=None)
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
"""Two megabytes of names took three seconds, in which nobody was answered."""


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
def test_an_invalid_wish_is_rejected_with_its_path(members, at):
    kind, param, message = refused(read_options, NOTHING, chat(**members), ALL)
    assert (kind, param) == ("invalid_request", at)
    assert at in message


def test_headers_take_precedence_over_the_body_and_both_narrow():
    options = said("litellm", fallbacks=["b"], timeout=30, asked=headers(models="c", deadline="10s"))
    assert (names(options), options.deadline) == (["c"], 10)
    assert said("litellm", timeout=5, asked=headers(deadline="10s")).deadline == 5
    assert said("litellm", timeout=5, asked=headers(fallback="off")).fallback == "off"


# What is left of the places


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
    assert groups(narrow_candidates(SEVERAL, said("openrouter", provider=provider))) == left


@each_row(
    ("provider", "at"),
    [
        ({"only": ["gemini"]}, "provider.only"),
        ({"ignore": ["sonnet", "azure", "openai"]}, "provider.ignore"),
        ({"order": ["gpt", "novita"]}, "provider.order[1]"),
        ({"ignore": ["opneai"]}, "provider.ignore[0]"),
        ({"order": ["argon"]}, "provider.order[0]"),  # an entry, but not the client's to know of
        ({"max_price": {"completion": 0.5}}, "provider.max_price"),
        ({"zdr": True}, "provider.zdr"),
        ({"data_collection": "deny"}, "provider.data_collection"),
    ],
)
def test_a_wish_that_permits_nothing_or_has_an_unknown_name_is_rejected(provider, at):
    options = said("openrouter", provider=provider)
    assert refused(narrow_candidates, SEVERAL, options)[:2] == ("invalid_request", at)


def test_a_router_that_knows_the_options_receives_them():
    both = candidates("sonnet", "router")
    options = said("openrouter", provider={"only": ["deepinfra"], "order": ["deepinfra/turbo"]})
    assert groups(narrow_candidates(both, options)) == ["router"]
    private = said("openrouter", provider={"zdr": True})
    assert groups(narrow_candidates(both, private)) == ["router"]


def test_plans_are_joined_in_order_with_each_target_once():
    plans = [Plan(one, ONCE) for one in (candidates("gpt"), SEVERAL, candidates("argon gpt"))]
    several = join_plans(plans, Retries(attempts=3))
    assert groups(several.candidates) == ["gpt", "sonnet", "azure-eu azure-us", "argon"]
    assert several.retries.attempts == 3
    assert join_plans(plans[:1], Retries()).retries is SINGLE_ATTEMPT
    like = attrs.evolve(plans[1], route=Route(name="best"), retries=Retries(attempts=5))
    assert join_plans([plans[0], like], Retries()).retries.attempts == 5
    alone = attrs.evolve(plans[0], route=Route(name="alone"))
    assert join_plans([alone, plans[2]], Retries()).retries.attempts == 4


@each_row(
    ("options", "places", "left"),
    [
        (RoutingOptions(deadline=20), SEVERAL, Retries(deadline=20)),
        (RoutingOptions(deadline=math.inf), SEVERAL, Retries()),
        (RoutingOptions(deadline=900), SEVERAL, Retries()),
        (RoutingOptions(max_repeats=9), SEVERAL, Retries()),
        (RoutingOptions(max_repeats=1), candidates("sonnet", "gpt"), Retries(attempts=3)),
        (RoutingOptions(max_repeats=0), candidates("sonnet"), Retries(attempts=1)),
        (RoutingOptions(fallback="off"), candidates("sonnet"), Retries(attempts=1)),
        (RoutingOptions(fallback="off"), candidates("azure-eu azure-us"), Retries(attempts=1)),
    ],
)
def test_options_only_shrink_retries(options, places, left):
    assert narrow_retries(Retries(), options, places) == left


def test_a_lone_target_without_fallback_keeps_its_configured_retries():
    off, (sonnet,) = RoutingOptions(fallback="off"), candidates("sonnet")
    assert narrow_retries(Retries(), off, (sonnet,), has_own_retries=True).attempts == 4
    entry = attrs.evolve(sonnet.target.entry, retries=Retries(attempts=2))
    twice = attrs.evolve(sonnet, target=attrs.evolve(sonnet.target, entry=entry))
    assert narrow_retries(Retries(), off, (twice,)).attempts == 2


# Whatever comes

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
