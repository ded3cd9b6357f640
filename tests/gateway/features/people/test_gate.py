"""People in a running gateway: a token of an identity provider is a key, with the rights of its rule."""

import gc
import math
import time
import weakref
from contextvars import copy_context

import attrs
import pytest
import trio

from configfile.document import ConfigError
from gateway.access.authentication import Authenticator
from gateway.allowances.allowances import Allowances
from gateway.config_files.loading import from_mapping
from gateway.features.people.directory import PeopleDirectory
from gateway.features.people.gate import PeopleGate
from gateway.features.people.issuers import IssuerDirectory
from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.harness import config, provider
from tests.support.oidc import open_provider
from tests.support.people import MODEL, OTHER_MODEL, PATHS, bearer, body_of, issuer, people_gateway


@pytest.fixture(scope="module")
def setup():
    with people_gateway(client_keys=[{"name": "ann", "key": "key-of-ann-0123456789"}]) as found:
        yield found


def key_headers(token):
    """Return the headers in which a client may send its key."""
    return [bearer(token), {"x-api-key": token}, {"x-goog-api-key": token}, {"x-trigate-key": token},
            {"x-trigate-key": token, "authorization": "Bearer something-else"}]  # fmt: skip


@each_row("api", PATHS)
def test_a_token_is_a_key_in_every_api_and_header(setup, api):
    for headers in key_headers(setup.token()):
        reply = setup.ask(api, None, headers=headers)
        assert (reply.status, setup.client_of(reply)) == (200, "okta:00u1")


def test_a_token_may_be_in_the_query_of_gemini(setup):
    path = f"{PATHS['gemini'].format(model=MODEL)}?key={setup.token()}"
    assert setup.gateway.request("POST", path, body_of("gemini")).status == 200


@each_row("api", PATHS)
def test_no_token_gets_the_apis_own_errors(setup, api):
    expired, foreign = setup.token(exp=1_000_000), setup.token(groups=["sales"])
    refused = [setup.ask(api, token) for token in (None, expired, "not-a-token", foreign, expired[:-4] + "AAAA")]
    assert [one.status for one in refused] == [401, 401, 401, 403, 401]
    for one in refused:
        assert one.headers["x-should-retry"] == "false"
        assert expired.encode() not in one.body
    assert b"okta" in refused[3].body
    assert b"sales" not in refused[3].body


def test_a_key_of_the_file_needs_no_token(setup):
    reply = setup.ask("chat", "key-of-ann-0123456789")
    assert (reply.status, setup.client_of(reply)) == (200, "ann")


def test_two_different_credentials_are_ambiguous(setup):
    reply = setup.ask("chat", setup.token(), headers={"x-api-key": setup.token(sub="00u2")})
    assert reply.status == 401
    assert b"several different keys" in reply.body


IDENTITY_HEADERS = """
    x-forwarded-user x-auth-request-email x-forwarded-email x-auth-request-user remote-user x-remote-user x-webauth-user
    cf-access-authenticated-user-email x-goog-authenticated-user-email x-amzn-oidc-identity cf-access-jwt-assertion
"""


@each_row("header", IDENTITY_HEADERS.split())
def test_headers_that_state_an_identity_are_ignored(setup, header):
    value = setup.token() if header.endswith("assertion") else "okta:00u1"
    assert setup.ask("chat", None, headers={header: value}).status == 401
    reply = setup.ask("chat", "key-of-ann-0123456789", headers={header: value})
    assert (reply.status, setup.client_of(reply)) == (200, "ann")


def test_a_person_sees_and_uses_the_models_of_its_rule(setup):
    token = setup.token(sub="00u7", groups=["interns"])
    assert setup.ask("chat", token, model=OTHER_MODEL).status == 200
    refused = setup.ask("chat", token, model=MODEL)
    assert refused.status == 403
    for path in rows_of("model_lists", "/v1/models"):
        listed = setup.gateway.request("GET", path, headers=bearer(token)).json["data"]
        assert [one["id"] for one in listed] == [OTHER_MODEL]


def test_a_request_has_the_rights_of_its_own_token(setup):
    """Two tokens of one person may match two rules, such as a pull request and the main branch of a repository."""
    wide, narrow = setup.token(groups=["ml"]), setup.token(groups=["interns"])
    for _ in range(3):
        assert setup.ask("chat", wide).status == 200
        assert setup.ask("chat", narrow).status == 403


# A header of a proxy

HEADER = "cf-access-jwt-assertion"


@pytest.fixture(scope="module")
def behind_proxy():
    keys = [{"name": "ann", "key": "key-of-ann-0123456789"}]
    with people_gateway(lambda identity: [issuer(identity, header=HEADER)], client_keys=keys) as found:
        yield found


@each_row("api", PATHS)
def test_a_token_in_the_header_of_a_proxy_counts_and_reaches_no_provider(behind_proxy, api):
    token = behind_proxy.token()
    for headers in ({HEADER: token}, {HEADER: token, "authorization": "Bearer any-word-of-an-sdk"}):
        reply = behind_proxy.ask(api, None, headers=headers)
        assert (reply.status, behind_proxy.client_of(reply)) == (200, "okta:00u1")
    assert not any(token in value for seen in behind_proxy.upstream.seen for _, value in seen.headers)


@pytest.mark.parametrize("header", [HEADER, "authorization"])
def test_equal_subjects_of_two_issuers_are_two_clients(header):
    more = {"header": HEADER} if header == HEADER else {}
    with open_provider() as other:

        def two_issuers(identity):
            return [issuer(identity, **more), issuer(other, "entra", **more)]

        with people_gateway(two_issuers) as setup:
            values = [f"Bearer {setup.token()}", f"Bearer {other.token(sub='00u1', groups=['ml'])}"]
            replies = [setup.ask("chat", None, headers={header: value}) for value in values]
            assert [setup.client_of(one) for one in replies] == ["okta:00u1", "entra:00u1"]


def test_a_gateway_key_has_precedence_over_the_header_of_a_proxy(behind_proxy):
    reply = behind_proxy.ask("chat", "key-of-ann-0123456789", headers={HEADER: behind_proxy.token()})
    assert (reply.status, behind_proxy.client_of(reply)) == (200, "ann")


def test_a_token_of_this_issuer_counts_only_in_that_header(behind_proxy):
    reply = behind_proxy.ask("chat", behind_proxy.token())
    assert reply.status == 401
    assert HEADER.encode() in reply.body


@pytest.mark.parametrize("value", ["", "not-a-token", "okta:00u1"])
def test_an_invalid_value_in_the_header_admits_nobody(behind_proxy, value):
    assert behind_proxy.ask("chat", None, headers={HEADER: value}).status == 401


def test_an_entry_may_not_pass_the_header_of_an_issuer_on():
    entry = {**provider("openai/gpt-4o", "https://api.example/v1"), "pass_headers": ["cf-*"]}
    item = {"name": "okta", "issuer": "https://id.example", "audience": ["x"], "header": HEADER,
            "admit": [{"when": {}}]}  # fmt: skip
    with pytest.raises(ConfigError, match="pass_headers"):
        from_mapping(config([entry], 12000, issuers=[item]))


# Credentials of the gateway and of a provider


@pytest.fixture(scope="module")
def passing():
    """Run a gateway whose entries send the client's own key to the provider."""

    def models(upstream):
        entries = [provider("anthropic/claude-opus-6", upstream.url, name=MODEL),
                   provider("openai/gpt-4o", f"{upstream.url}/v1", name=OTHER_MODEL)]  # fmt: skip
        return [
            {**{name: value for name, value in one.items() if name != "access_key"}, "passthrough_auth": True}
            for one in entries
        ]

    with people_gateway(models=models, public_url="https://llm.example") as found:
        yield found


def test_no_token_of_the_gateway_reaches_a_provider(passing):
    token, before = passing.token(), len(passing.upstream.seen)
    ours = [token, passing.token(exp=9), passing.token(groups=["sales"]), passing.token(aud="other"),
            passing.token(iss="https://llm.example"), "sk-trigate-" + "a" * 43]  # fmt: skip
    for model, api in ((MODEL, "messages"), (OTHER_MODEL, "chat"), (OTHER_MODEL, "responses")):
        for one in ours:
            for headers in ({"authorization": f"Bearer {one}"}, {"x-api-key": one}):
                assert passing.ask(api, None, model, headers).status in (401, 403)
                assert passing.ask(api, None, model, {"x-trigate-key": token, **headers}).status == 401
    assert len(passing.upstream.seen) == before


def test_the_own_key_of_a_client_still_reaches_its_provider(passing):
    """ChatGPT's login tokens are signed tokens of another issuer."""
    theirs = [passing.token(iss="https://auth.openai.com"), "sk-of-the-client-0123456789"]
    for one in theirs:
        headers = {"x-trigate-key": passing.token(), "authorization": f"Bearer {one}"}
        assert passing.ask("chat", None, OTHER_MODEL, headers).status == 200
        assert passing.upstream.seen[-1].header("authorization") == f"Bearer {one}"


# Requests without a token, which a URL of the gateway permits


class Blocks:
    """The rights of a store in which one person is blocked."""

    is_read = True

    def is_blocked(self, name):
        return name == "okta:blocked"

    def is_ended(self, session):
        return False

    def own_key(self, digest):
        return None


async def test_a_url_of_the_gateway_works_in_a_process_that_does_not_know_the_person():
    item = {"name": "okta", "issuer": "https://id.example", "audience": ["x"],
            "admit": [{"when": {"groups": "ml"}, "models": [MODEL]}]}  # fmt: skip
    entry = provider("openai/gpt-4o", "https://api.example/v1", name=MODEL)
    read = from_mapping(config([entry], 12000, issuers=[item], client_keys=[{"name": "ann", "key": "k" * 20}]))
    directory, people = PeopleDirectory(), IssuerDirectory(read)
    gate = PeopleGate(read, people, directory, Blocks)
    authenticator = Authenticator(attrs.evolve(read, unlisted=gate))
    known = directory.note(*gate.rules.admit("okta", {"sub": "known", "groups": ["ml"]}))

    def rights_of(name):
        found = authenticator.knows(name)
        return found, authenticator.is_limited(name), authenticator.reaches(name, read.entries[0])

    contexts = {name: copy_context() for name in ("okta:known", "okta:other", "okta:blocked", "ann")}
    found = {name: context.run(rights_of, name) for name, context in contexts.items()}
    assert found == {
        "okta:known": (True, True, True), "okta:other": (True, False, True),
        "okta:blocked": (False, True, False), "ann": (True, False, True),
    }  # fmt: skip
    assert authenticator.is_limited("okta:other"), "by its name alone, a person that is not known has no rights"
    assert not authenticator.reaches("okta:other", read.entries[0])
    assert not authenticator.knows("nobody")
    assert known.name == "okta:known"
    await people.aclose()


async def test_the_seconds_left_of_a_token_are_never_negative():
    with open_provider() as identity:
        entry = provider("openai/gpt-4o", "https://api.example/v1", name=MODEL)
        read = from_mapping(config([entry], 12000, issuers=[issuer(identity, admit=[{"when": {}}])]))
        async with IssuerDirectory(read) as issuers, trio.open_nursery() as nursery:
            nursery.start_soon(issuers.run)
            gate = PeopleGate(read, issuers, PeopleDirectory())
            await issuers.prepare(token := identity.token(sub="00u1"), time.time())
            assert 0.0 < gate.seconds_left((), [token]) < math.inf
            assert gate.seconds_left((), ["key"]) == math.inf
            assert gate.seconds_left((), [identity.token(exp=1000)]) == 0.0
            nursery.cancel_scope.cancel()


def test_replaced_clients_are_freed():
    clients = [{"name": "alice", "key": "key-of-alice-0123456789", "budgets": ["1 usd/day"]}]
    entry = provider("openai/gpt-4o", "https://api.example/v1", name=MODEL)
    present = from_mapping(config([entry], 12000, client_keys=clients))
    present = attrs.evolve(present, unlisted=PeopleGate(present, IssuerDirectory(present), PeopleDirectory()))
    authenticator, allowances = Authenticator(present), Allowances(present)
    first = weakref.ref(authenticator), weakref.ref(allowances)
    authenticator, allowances = Authenticator(present, before=authenticator), allowances.next(present)
    gc.collect()
    assert [one() for one in first] == [None, None]
    assert allowances.of_client("alice")
