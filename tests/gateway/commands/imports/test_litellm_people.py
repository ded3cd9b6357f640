"""LiteLLM's settings for tokens become issuers if they determine which people are admitted."""

import json

import pytest

from gateway.commands.imports.litellm import Clients, convert_litellm
from gateway.commands.imports.litellm_keys import read_keys, read_teams
from gateway.commands.imports.losses import Group
from gateway.config.loading import from_mapping
from tests.support.litellm_files import file_text, item
from tests.support.quick_yaml import load_yaml

ISSUER, DIGEST = "https://idp.example.com/realms/main", "ab" * 32
TEAMS = read_teams(json.dumps([{"team_id": "t-1", "team_alias": "research", "models": ["demo"]}]).encode(), "teams")
KEYS = read_keys(json.dumps([{"token": DIGEST, "key_alias": "k", "team_id": "t-1", "models": []}]).encode(), "keys")


def convert(clients=None, **settings):
    general = {"enable_jwt_auth": True, "litellm_jwtauth": settings}
    return convert_litellm({"model_list": [item("demo", "openai/gpt-5")], "general_settings": general}, clients)


def issuers_of(result):
    """Return the issuers in the new file, which the gateway accepts."""
    content = load_yaml(file_text(result))
    from_mapping(content)
    return content.get("issuers", [])


def test_an_issuer_with_its_claims_admits_all_of_its_people():
    own = {"issuer": ISSUER, "audience": "litellm", "user_id_jwt_field": "sub", "user_email_jwt_field": "user.mail"}
    result = convert(issuers=[own], user_id_upsert=True)
    assert issuers_of(result) == [
        {"name": "idp-example-com", "issuer": ISSUER, "audience": ["litellm"],
         "claims": {"name": "sub", "label": "/user/mail"}, "admit": [{"when": {}}]},
    ]  # fmt: skip
    assert result.losses == []


def test_a_domain_of_addresses_narrows_the_rule():
    own = {"issuer": ISSUER, "audience": ["a", "b"]}
    (found,) = issuers_of(convert(issuers=[own], user_allowed_email_domain="example.com"))
    assert (found["audience"], found["admit"]) == (["a", "b"], [{"when": {"email": "*@example.com"}}])


def test_teams_of_the_database_become_rules():
    own = {"issuer": ISSUER, "audience": "a", "team_ids_jwt_field": "groups"}
    (found,) = issuers_of(convert(Clients(KEYS, TEAMS), issuers=[own], enforce_team_based_model_access=True))
    assert found["admit"] == [{"when": {"groups": "t-1"}, "group": "research"}]


@pytest.mark.parametrize("own", [{"team_ids_jwt_field": "groups"}, {}, {"enforce_team_based_model_access": True}])
def test_without_teams_no_token_is_admitted(own):
    result = convert(issuers=[{"issuer": ISSUER, "audience": "a", **own}])
    assert issuers_of(result) == []
    assert [(loss.group, loss.what) for loss in result.losses] == [(Group.PROTECTION, f"the tokens of {ISSUER}")]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"user_id_upsert": True}, "the tokens of enable_jwt_auth"),
        ({"issuers": [{"issuer": "os.environ/ISSUER", "audience": "a"}]}, "an issuer in litellm_jwtauth"),
    ],
)
def test_an_issuer_in_variables_is_not_written(settings, what):
    """LiteLLM reads JWT_PUBLIC_KEY_URL, and need not check the issuer."""
    result = convert(**settings)
    assert issuers_of(result) == []
    assert [(loss.group, loss.what) for loss in result.losses] == [(Group.PROTECTION, what)]


def test_other_settings_of_tokens_are_named():
    own = {"issuer": ISSUER, "audience": "a"}
    more = {"team_allowed_routes": ["openai_routes"], "user_id_upsert": True}
    result = convert(issuers=[own, {**own, "issuer": f"{ISSUER}2"}, {"issuer": ISSUER}], **more)
    assert [one["name"] for one in issuers_of(result)] == ["idp-example-com", "idp-example-com-2"]
    lost = [loss.what for loss in result.losses]
    assert lost == ["an issuer in litellm_jwtauth", "litellm_jwtauth.team_allowed_routes"]
