"""The rules that admit people: matching claims, the identity of a person, and the text of a refusal."""

import time

import pytest

from configfile.document import ConfigError
from gateway.config_files.loading import from_mapping
from gateway.features.people.rules import NotAdmitted, RuleBook, claim_at
from gateway.features.people.settings import issuers_of
from tests.support.each_row import each_row
from tests.support.harness import config, provider

MODEL = provider("openai/gpt-4o", "https://api.example/v1")
ISSUER = {"name": "okta", "issuer": "https://id.example", "audience": ["trigate"]}


def book(*rules, **more):
    root = {"client_groups": [{"name": "research"}]}
    made = from_mapping(config([MODEL], 12000, issuers=[{**ISSUER, "admit": [*rules], **more}], **root))
    return RuleBook(issuers_of(made))


def admits(when, claims, /, **more):
    try:
        book({"when": when}, **more).admit("okta", {"sub": "00u1", **claims})
    except NotAdmitted:
        return False
    return True


@each_row(
    ("when", "claims", "expected"),
    [
        ({"groups": "ml"}, {"groups": ["finance", "ml"]}, True),
        ({"groups": "ml"}, {"groups": "ml"}, True),
        ({"groups": "ml"}, {"groups": ["ML"]}, False),
        ({"groups": "ml"}, {"groups": ["ml-leads"]}, False),
        ({"groups": "ml*"}, {"groups": ["ml-leads"]}, True),
        ({"groups": "*-leads"}, {"groups": ["ml-leads"]}, True),
        ({"groups": "m*l*s"}, {"groups": ["ml-leads"]}, True),
        ({"groups": "ml*ml"}, {"groups": ["ml"]}, False),
        ({"groups": ["ops", "ml"]}, {"groups": ["ml"]}, True),
        ({"groups": ["ops", "qa"]}, {"groups": ["ml"]}, False),
        ({"groups": "*"}, {"groups": ["ml"]}, True),
        ({"groups": "*"}, {}, False),
        ({"groups": "*"}, {"groups": []}, False),
        ({"groups": "*"}, {"groups": [""]}, False),
        ({"groups": "*"}, {"groups": None}, False),
        ({"groups": "*"}, {"groups": {"ml": "ml"}}, False),
        ({"actor": "dependabot[bot]"}, {"actor": "dependabot[bot]"}, True),
        ({"actor": "dependabot[bot]"}, {"actor": "dependabotb"}, False),
        ({"actor": "a?c"}, {"actor": "abc"}, False),
        ({"groups": "ml", "dept": "x"}, {"groups": ["ml"]}, False),
        ({"groups": "ml", "dept": "x"}, {"groups": ["ml"], "dept": "x"}, True),
        ({"ref_protected": True}, {"ref_protected": "true"}, True),
        ({"ref_protected": "true"}, {"ref_protected": True}, True),
        ({"project": 22}, {"project": 22}, True),
        ({"project": 22}, {"project": "22"}, True),
        ({"project": 22}, {"project": 22.0}, False),
        ({"/realm_access/roles": "ml"}, {"realm_access": {"roles": ["ml"]}}, True),
        ({"/realm_access/roles": "ml"}, {"realm_access": "ml"}, False),
        ({"/a~1b/1": "x"}, {"a/b": ["y", "x"]}, True),
        ({"/a/x": "x"}, {"a": ["x"]}, False),
        ({"https://example.com/roles": "ml"}, {"https://example.com/roles": ["ml"]}, True),
        ({"email": "*@acme.example"}, {"email": "ada@acme.example"}, True),
        ({"email": "*@acme.example"}, {"email": "ada@acme.example", "email_verified": False}, False),
        ({"email": "*@acme.example"}, {"email": "ada@acme.example", "email_verified": "false"}, False),
        ({"ref": "refs/heads/main"}, {"ref": "refs/pull/7/merge"}, False),
        ({}, {}, True),
    ],
)  # fmt: skip
def test_all_claims_of_a_rule_must_match(when, claims, expected):
    assert admits(when, claims) is expected


def test_groups_means_the_claim_that_the_issuer_is_configured_with():
    claims = {"claims": {"groups": "/realm_access/roles"}}
    assert admits({"groups": "ml"}, {"realm_access": {"roles": ["ml"]}}, **claims)
    assert not admits({"groups": "ml"}, {"groups": ["ml"]}, **claims)


def test_the_first_rule_that_matches_decides():
    rules = book(
        {"when": {"groups": "a"}, "role": "auditor"},
        {"when": {"groups": "b"}, "group": "research"},
        {"when": {}, "models": []},
    )
    found = {group: rules.admit("okta", {"sub": "1", "groups": list(group)})[0] for group in ("ab", "ba", "b", "c")}
    assert {group: (one.rule, one.role, one.group) for group, one in found.items()} == {
        "ab": (0, "auditor", None), "ba": (0, "auditor", None), "b": (1, "user", "research"), "c": (2, "user", None),
    }  # fmt: skip


def test_a_person_has_the_issuer_in_its_name_and_the_labels_of_its_claims():
    claims = {"sub": "00u1", "email": "ada@acme.example", "name": "Ada\u202e Byron", "groups": ["ml", 3]}
    person, _ = book({"when": {}}).admit("okta", claims)
    assert (person.name, person.issuer) == ("okta:00u1", "okta")
    assert (person.label, person.email, person.full_name) == ("ada@acme.example", "ada@acme.example", "Ada Byron")
    assert person.groups == ("ml", "3")


@each_row(
    ("claims", "words"),
    [
        ({}, "no text in the claim sub"),
        ({"sub": 7}, "no text in the claim sub"),
        ({"sub": ["a"]}, "no text in the claim sub"),
        ({"sub": " "}, "no text in the claim sub"),
        ({"sub": "a" * 129}, "is too long"),
        ({"sub": "a\nb"}, "control characters"),
        ({"sub": "a\u202eb"}, "control characters"),
    ],
)
def test_a_claim_that_cannot_name_a_client_is_refused(claims, words):
    with pytest.raises(NotAdmitted) as caught:
        book({"when": {}}).admit("okta", claims)
    assert words in caught.value.info.message
    assert caught.value.info.status == 403


def test_128_characters_are_a_name():
    person, _ = book({"when": {}}).admit("okta", {"sub": "ä" * 128})
    assert person.name == f"okta:{'ä' * 128}"


@each_row(("verified", "expected"), [({}, True), ({"email_verified": True}, True),
                                                    ({"email_verified": False}, False),
                                                    ({"email_verified": "false"}, False)])  # fmt: skip
def test_an_unverified_address_names_nobody(verified, expected):
    rules, claims = book({"when": {}}, claims={"name": "email"}), {"email": "ada@acme.example", **verified}
    if expected:
        assert rules.admit("okta", claims)[0].name == "okta:ada@acme.example"
        return
    with pytest.raises(NotAdmitted, match="has not verified"):
        rules.admit("okta", claims)


def refusal(claims, *rules, **more):
    with pytest.raises(NotAdmitted) as caught:
        book(*rules, **more).admit("okta", claims)
    return caught.value.info.message


def test_a_refusal_lists_the_claims_without_their_values():
    said = refusal({"sub": "1", "dept": "s3cret"}, {"when": {"groups": "ml", "dept": "x"}}, {"when": {"dept": "y"}})
    assert "issuer okta" in said
    assert "read the claims dept" in said
    assert "does not have groups" in said
    assert "s3cret" not in said


def test_a_refusal_tells_that_entra_left_out_the_groups():
    """https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#groups-overage-claim"""
    overage = {"sub": "1", "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}}
    said = refusal(overage, {"when": {"groups": "ml"}})
    assert "_claim_names" in said
    assert "too many" in said
    assert "_claim_names" not in refusal({"sub": "1"}, {"when": {"groups": "ml"}})


def test_an_issuer_that_was_removed_admits_nobody():
    with pytest.raises(NotAdmitted, match="no longer"):
        book({"when": {}}).admit("other", {"sub": "1"})


def test_the_needed_claims_decide_as_all_do():
    rules = book({"when": {"groups": "a", "/deep/x": "y"}, "role": "auditor"}, {"when": {}})
    claims = {"sub": "1", "groups": ["a"], "deep": {"x": "y"}, "email": "e@x", "other": "z" * 1000}
    needed = rules.needed_claims("okta", claims)
    assert "other" not in needed
    assert rules.admit("okta", needed) == rules.admit("okta", claims)


def test_a_hostile_value_is_compared_in_linear_time():
    began = time.process_time()
    assert not admits({"groups": "*a*a*a*a*a*a*a*a*b"}, {"groups": ["a" * 16_000] * 50})
    assert time.process_time() - began < 5  # of exponential work it would be hours


def test_a_pointer_to_a_missing_member_is_no_claim():
    assert claim_at({"a": [1]}, "/a/5") is None
    assert claim_at({"a": [1]}, "/a/-1") is None
    assert claim_at({"a": None}, "/a/b") is None
    assert claim_at({"/a": 1}, "/a") == 1


# Mistakes in the file


def mistakes(*rules, issuer=None, **root):
    item = {**ISSUER, "admit": [*rules], **(issuer or {})}
    with pytest.raises(ConfigError) as caught:
        from_mapping(config([MODEL], 12000, **{"issuers": [item], **root}))
    return "\n".join(map(str, caught.value.mistakes))


LOGIN = {"login": {"client_id": "x"}}
KEY = "7vZT9Dk0aQ8iEuU2Cw3n6Jx3p8j3G2n5c9uC9gk3q0M="
GITHUB = {"name": "github", "issuer": "https://token.actions.githubusercontent.com"}
GOOGLE = {"name": "google", "issuer": "https://accounts.google.com"}


@each_row(
    ("rules", "issuer", "root", "words"),
    [
        ([{"when": {"groups": ""}}], {}, {}, "the text is empty"),
        ([{"when": {"groups": []}}], {}, {}, "the list is empty"),
        ([{"when": {"groups": ["a", " "]}}], {}, {}, "the text is empty"),
        ([{"when": {}}, {"when": {"groups": "a"}}], {}, {}, "later rules never apply"),
        ([{"role": "admin"}], {}, {}, "when: missing"),
        ([], {}, {}, "the list is empty"),
        ([{"when": {}, "group": "nobody"}], {}, {}, "there is no group 'nobody'"),
        ([{"when": {}, "models": ["gpt-9"]}], {}, {}, "not a configured model"),
        ([{"when": {}, "role": "lead"}], {}, {}, "a lead needs a group"),
        ([{"when": {}, "role": "root"}], {}, {}, "role"),
        ([{"when": {}, "passthrough": ["*"]}], {}, {}, "unknown key"),
        ([{"when": {}, "budgets": ["20 usd/day"], "raise_to": ["10 usd/day"]}], {}, {}, "less than the budget"),
        ([{"when": {}}], {"algorithms": ["HS256"]}, {}, "shared secret"),
        ([{"when": {}}], {"algorithms": ["none"]}, {}, "'none'"),
        ([{"when": {}}], {"algorithms": []}, {}, "the list is empty"),
        ([{"when": {}}], {"audience": None}, {}, "audience: missing"),
        ([{"when": {}}], {"audience": []}, {}, "the list is empty"),
        ([{"when": {}}], {"audience": [" "]}, {}, "a value is empty"),
        ([{"when": {}}], {"clock_skew": "6m"}, {}, "at most 5m"),
        ([{"when": {}}], {"issuer": "http://id.example"}, {}, "use an https:// URL"),
        ([{"when": {}}], {"issuer": "id.example"}, {}, "use an https:// URL"),
        ([{"when": {}}], {"jwks": "http://id.example/keys"}, {}, "others on the network"),
        ([{"when": {}}], {"name": "group"}, {}, "means a client group"),
        ([{"when": {}}], {"name": "a:b"}, {}, "name of at most 64"),
        ([{"when": {}}], {"header": "cookie"}, {}, "has another meaning"),
        ([{"when": {}}], {}, {"public_url": "https://id.example/"}, "it equals `public_url`"),
        ([{"when": {}}], LOGIN, {}, "sign-in needs `public_url`"),
        ([{"when": {}}], LOGIN, {"public_url": "https://llm.example"}, "sign-in needs `signing_key`"),
        ([{"when": {}}], LOGIN, {"public_url": "https://llm.example", "signing_key": KEY}, "`state_storage`"),
        ([{"when": {}}], LOGIN, {"public_url": "http://llm.example"}, "unencrypted"),
        ([{"when": {}}], LOGIN, {"public_url": "https://llm.example/a/../b"}, "write it like https://host/path"),
        ([{"when": {}}], LOGIN, {"public_url": "https://llm.example/a?b"}, "write it like https://host/path"),
        ([{"when": {}}], LOGIN, {"public_url": "https://llm.example/ui"}, "/ui is one of the gateway's own paths"),
        ([{"when": {}}], {}, {"client_keys": [{"name": "okta:00u1", "key": "k" * 20}]}, "name of this issuer's people"),
        ([{"when": {}}], {}, {"issuers": []}, "the list is empty"),
        ([{"when": {}}], {}, {"sessions": {"token": "2d", "longest": "1d"}}, "longer than `longest`"),
        # https://docs.github.com/actions/concepts/security/openid-connect: every repository can get such a token
        ([{"when": {}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"ref": "refs/heads/main"}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"repository": "*"}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"repository": "*/app"}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"repository": "acme*"}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"repository": ["acme/app", "*"]}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"repository_owner": "acme*"}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"sub": "repo:*"}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"actor": "octocat"}}], GITHUB, {}, "this rule does not restrict the owner"),
        ([{"when": {"email_verified": True}}], GOOGLE, {}, "this rule does not restrict the owner"),
        ([{"when": {"email": "*acme.example"}}], GOOGLE, {}, "this rule does not restrict the owner"),
        ([{"when": {"repository": "acme/a"}}, {"when": {}}], GITHUB, {}, "admit[1].when"),
    ],
)  # fmt: skip
def test_a_rule_that_would_admit_the_wrong_people_is_a_mistake(rules, issuer, root, words):
    assert words in mistakes(*rules, issuer=issuer, **root)


@each_row(
    ("issuer", "when"),
    [
        (GITHUB, {"repository": "acme/app", "ref": "refs/heads/main"}),
        (GITHUB, {"repository": "acme/*"}),
        (GITHUB, {"repository_owner": "acme"}),
        (GITHUB, {"sub": "repo:acme/app:*"}),
        (GITHUB, {"sub": "repo:acme/*"}),
        (GOOGLE, {"hd": "acme.example"}),
        (GOOGLE, {"email": "*@acme.example"}),
        ({"name": "gitlab", "issuer": "https://gitlab.com"}, {"project_path": "acme/*"}),
    ],
)
def test_a_rule_of_a_public_issuer_that_names_an_owner_is_valid(issuer, when):
    item = {**ISSUER, **issuer, "admit": [{"when": when}]}
    made = from_mapping(config([MODEL], 12000, issuers=[item]))
    assert made.asks_for_key


def test_two_issuers_with_one_name_or_one_iss_are_a_mistake():
    again = {**ISSUER, "admit": [{"when": {}}]}
    said = mistakes({"when": {}}, issuers=[again, again])
    assert "another issuer has the name okta" in said
    assert "has the same `issuer`" in said


def test_e_mail_addresses_as_names_are_warned_about():
    item = {**ISSUER, "admit": [{"when": {}}], "claims": {"name": "email"}}
    made = from_mapping(config([MODEL], 12000, issuers=[item]))
    assert any("change hands" in warning for warning in made.warnings)


def test_no_mistake_repeats_a_client_secret():
    said = mistakes({"when": {"groups": ""}}, issuer={"login": {"client_id": "x", "client_secret": "s3cret-s3cret"}})
    assert "s3cret" not in said
