"""Mistakes and warnings about `issuers`: their addresses, their sign-in, and names that others have."""

import pytest

from configfile.document import ConfigError
from gateway.config_files.loading import from_mapping
from gateway.features.people.settings import SIGN_IN_PARAMETERS, issuers_of
from tests.support.each_row import each_row
from tests.support.harness import config, provider
from tests.support.people_gateway import SIGNING_KEY

MODEL = provider("openai/gpt-4o", "https://api.example/v1")
SIGN_IN = {
    "public_url": "https://llm.example",
    "signing_key": SIGNING_KEY,
    "state_storage": {"type": "sqlite", "path": "state.sqlite"},
}


def issuer(name="okta", **more):
    return {"name": name, "issuer": f"https://{name}.example", "audience": ["trigate"], "admit": [{"when": {}}], **more}


def read(*issuers, **root):
    return from_mapping(config([MODEL], 12000, issuers=[*issuers], **root))


def mistakes(*issuers, **root):
    """Return the text of the mistakes by the path of their value."""
    with pytest.raises(ConfigError) as caught:
        read(*issuers, **root)
    return {mistake.path: str(mistake) for mistake in caught.value.mistakes}


def login(**params):
    return issuer(login={"client_id": "x", "params": params})


@each_row("name", SIGN_IN_PARAMETERS)
def test_the_gateway_alone_sets_the_parameters_of_a_sign_in(name):
    found = mistakes(login(**{name: "mine"}), **SIGN_IN)
    assert list(found) == [f"issuers[0].login.params.{name}"]
    assert SIGN_IN_PARAMETERS[name] in found[f"issuers[0].login.params.{name}"]


def test_other_parameters_of_a_sign_in_are_valid():
    assert issuers_of(read(login(access_type="offline", prompt="consent", hd="acme.example"), **SIGN_IN))[0].login


@each_row(
    ("url", "part"),
    [
        ("https://ada:s3cret-s3cret@id.example", "user name"),
        ("http://ada:s3cret-s3cret@id.example", "user name"),
        ("https://id.example/oauth2?key=s3cret-s3cret", "query"),
        ("https://id.example/oauth2?", "query"),
        ("https://id.example/oauth2#s3cret-s3cret", "fragment"),
    ],
)
@each_row("more", [{}, {"jwks": "https://id.example/keys"}])
def test_the_address_of_an_issuer_has_only_a_host_and_a_path(url, part, more):
    """OpenID Connect Discovery 1.0, section 3: a URL "with no query or fragment component"."""
    found = mistakes(issuer(**{"issuer": url, **more}))
    assert list(found) == ["issuers[0].issuer"]
    assert f"no {part}" in found["issuers[0].issuer"]
    assert "s3cret" not in found["issuers[0].issuer"]


NEVER_REQUESTED = (
    "https://169.254.169.254/keys", "https://[fe80::1]/keys", "https://0.0.0.0/keys", "https://[::]/keys",
    "https://[fd00:ec2::254]/keys", "https://2852039166/keys",
)  # fmt: skip
KEYS = "https://id.example/keys"
OF_ISSUERS = {
    "issuer": lambda url: issuer(issuer=url),
    "issuer of a sign-in": lambda url: issuer(issuer=url, jwks=KEYS, login={"client_id": "x"}),
    "jwks": lambda url: issuer(jwks=url),
}


@each_row("url", NEVER_REQUESTED)
@each_row("place", OF_ISSUERS)
def test_an_address_that_the_gateway_would_not_request_is_a_mistake(url, place):
    found = mistakes(OF_ISSUERS[place](url), **SIGN_IN)
    assert list(found) == [f"issuers[0].{place.partition(' ')[0]}"]
    assert "the gateway would not request" in found[f"issuers[0].{place.partition(' ')[0]}"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:5556/dex", "https://localhost/realms/a", "https://10.0.0.1:6443"])
def test_an_issuer_may_be_on_this_machine_or_in_a_private_network(url):
    assert issuers_of(read(issuer(issuer=url, jwks=f"{url}/keys")))
    assert issuers_of(read(issuer(issuer=url)))


@pytest.mark.parametrize("iss", ["kubernetes/serviceaccount", "accounts.example", "ada@example"])
def test_an_issuer_with_its_keys_may_be_any_text(iss):
    assert issuers_of(read(issuer(issuer=iss, jwks="https://id.example/keys")))[0].issuer == iss


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ({"client_groups": [{"name": "okta:00u1"}]}, "the group okta:00u1 has a name of this issuer's people"),
        ({"client_groups": [{"name": "Okta:00u1"}]}, "the group Okta:00u1 has a name of this issuer's people"),
        ({"client_keys": [{"name": "OKTA:x", "key": "k" * 20}]}, "the client OKTA:x has a name of this issuer's"),
    ],
)
def test_no_client_or_group_has_a_name_of_people(root, words):
    assert words in mistakes(issuer(), **root)["issuers[0].name"]


def test_names_of_issuers_differ_in_more_than_case():
    found = mistakes(issuer(), issuer("OKTA"))
    assert "another issuer has the name okta" in found["issuers[1].name"]
    assert "means a client group" in mistakes(issuer("Group"))["issuers[0].name"]


def test_a_token_file_whose_path_no_file_can_have_is_a_mistake():
    (text,) = mistakes(issuer(fetch={"token": {"file": "a\0b"}})).values()
    assert text.endswith("fetch.token: the path contains a null character; write the path of a file.")
