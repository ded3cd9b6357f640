"""The routing options of a request: this gateway's headers, and how options narrow a plan."""

import math
import re

import attrs

from gateway.access.authentication import OWN_HEADER
from gateway.allowances.runs import HEADER
from gateway.config.aliases import Route
from gateway.config.attempts import Retries
from gateway.http.headers import OWN_REQUEST_HEADERS, PROJECT
from gateway.request.client_request import ClientRequest
from gateway.request.narrowing import join_plans, narrow_retries
from gateway.request.routing_options import NO_OPTIONS, ROUTING_HEADERS, RoutingOptions, read_headers
from gateway.routing.plan import SINGLE_ATTEMPT, Plan, send_once
from tests.support.each_row import each_row
from tests.support.repository import ROOT
from tests.support.routed_requests import NOTHING, SEVERAL, candidates, groups, headers, names, read_refusal

# Headers


def test_a_request_without_routing_members_has_no_options():
    assert read_headers(NOTHING) is NO_OPTIONS
    assert read_headers(headers(run="r", project="p")) is NO_OPTIONS
    assert [read_headers(headers(strict=word)).strict for word in ("1", "True", "ON", "0")] == [True, True, True, False]


def test_headers_are_read_without_any_key():
    options = read_headers(headers(models="a, b,, a", fallback="off", deadline="20s"))
    assert (names(options), options.fallback, options.deadline) == (["a", "b"], "off", 20.0)
    assert read_headers(headers(fallback="ON")).fallback == "as configured"


def test_duplicate_headers_all_apply():
    both = (*headers(models="a", fallback="off", deadline="9s").headers, *headers(models="b", fallback="on").headers)
    options = read_headers(ClientRequest((*both, *headers(deadline="1m").headers), ""))
    assert (names(options), options.fallback, options.deadline) == (["a", "b"], "off", 9.0)


def test_no_header_that_the_gateway_reads_is_reported_as_unknown():
    documented = set(re.findall(r"^\| `(x-trigate-[a-z]+): ", (ROOT / "docs/routing.md").read_text(), re.MULTILINE))
    assert documented == OWN_REQUEST_HEADERS - {OWN_HEADER, "x-trigate-provider"}
    assert ROUTING_HEADERS | {PROJECT, HEADER} == documented


@each_row(
    ("name", "value", "words"),
    [
        ("models", " , ", "must have at least one model"),
        ("models", ",".join(f"m{i}" for i in range(33)), "send at most 32"),
        ("fallback", "no", "must be off or on, not 'no'"),
        ("strict", "yes", "must be off or on, not 'yes'"),
        ("deadline", "soon", "'soon'; expected a duration"),
        ("deadline", "0s", "above 0"),
        ("deadline", "-3s", "expected a duration"),
    ],
)
def test_an_invalid_header_is_rejected_with_its_name(name, value, words):
    kind, param, message = read_refusal(read_headers, headers(**{name: value}))
    assert (kind, param) == ("invalid_request", f"x-trigate-{name}")
    assert words in message


def test_plans_are_joined_in_order_with_each_target_once():
    plans = [Plan(one, send_once) for one in (candidates("gpt"), SEVERAL, candidates("argon gpt"))]
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
