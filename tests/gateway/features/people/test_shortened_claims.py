"""Claims without the list items that no rule mentions have the same effect."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.config_files.loading import from_mapping
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.settings import issuers_of
from tests.support.each_row import each_row

WORDS = ("ml", "ml-leads", "finance", "*", "ml*", "*-leads", "1", "true")
PATHS = ("groups", "/groups", "/groups/0", "roles", "/realm/roles", "teams", "department")
CLAIM = st.one_of(
    st.lists(st.one_of(st.sampled_from(WORDS[:3]), st.text(max_size=4), st.integers(0, 2), st.booleans()), max_size=6),
    st.sampled_from(WORDS[:3]),
    st.none(),
)
CLAIMS = st.fixed_dictionaries(
    {"sub": st.just("00u1")},
    optional={
        **dict.fromkeys(("groups", "roles", "teams", "department"), CLAIM),
        "realm": st.fixed_dictionaries({"roles": CLAIM}),
    },
)
RULES = st.lists(st.dictionaries(st.sampled_from(PATHS), st.sampled_from(WORDS), min_size=1, max_size=2), max_size=4)


def rule_book(whens: list[dict[str, str]], groups: str = "groups") -> RuleBook:
    issuer = {
        "name": "okta",
        "issuer": "https://example.okta.com",
        "audience": ["trigate"],
        "claims": {"groups": groups},
        "admit": [{"when": when} for when in [*whens, {"never": "never"}]],
    }
    entry = {"model": "openai/a", "access_key": "k"}
    return RuleBook(issuers_of(from_mapping({"version": "v0.4.0", "model_providers": [entry], "issuers": [issuer]})))


@given(RULES, CLAIMS, st.sampled_from(("groups", "teams", "/realm/roles")))
def test_the_same_rule_admits_shortened_claims(whens: list[dict[str, str]], claims: dict[str, Any], groups: str):
    rules = rule_book(whens, groups)
    full = rules.find("okta", claims)
    short = rules.find("okta", rules.shortened_claims("okta", rules.needed_claims("okta", claims)))
    assert isinstance(full, NotAdmitted) == isinstance(short, NotAdmitted)
    if not isinstance(full, NotAdmitted) and not isinstance(short, NotAdmitted):
        assert (full.name, full.rule) == (short.name, short.rule)


@each_row(
    ("when", "claims", "expected"),
    [
        ({"groups": "ml"}, {"groups": ["a", "ml", "b"]}, {"groups": ["ml"]}),
        ({"groups": "ml*"}, {"groups": ["a", "ml-1", "ml-2"]}, {"groups": ["ml-1", "ml-2"]}),
        ({"/groups/0": "ml"}, {"groups": ["ml", "b"]}, {"groups": ["ml", "b"]}),
        ({"department": "x"}, {"groups": ["a"], "department": "x"}, {"groups": [], "department": "x"}),
    ],
)
def test_only_items_that_a_rule_can_match_stay(when, claims, expected):
    assert rule_book([when]).shortened_claims("okta", claims) == expected
