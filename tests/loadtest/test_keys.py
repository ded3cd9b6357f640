"""Which key the load tester sends where, what it says of it, and what it advises where a key is refused."""

import pytest

from loadtest.requests.keys import OWN_KEYS, credential_for, describe_key, key_advice
from providers.catalog.providers import CATALOG
from tests.support.cases import case
from tests.support.command_line import run
from tests.support.each_row import each_row
from tests.support.upstreams import Raw, Script

ENVIRONMENT = {row.key_env: f"sk-of-{row.id}" for row in CATALOG.values() if row.key_env} | {"MINE": " sk-mine\n"}
REFUSAL = Raw(401, (("content-type", "application/json"),), (b'{"error": {"message": "no such key"}}',))


def test_a_providers_own_host_alone_gets_that_providers_key():
    for url, value in [
        ("https://api.openai.com", "sk-of-openai"),
        ("https://api.openai.com:443/v1/chat/completions", "sk-of-openai"),
        ("https://API.OpenAI.com/v1", "sk-of-openai"),
        ("https://api.anthropic.com/v1/messages", "sk-of-anthropic"),
        ("https://openrouter.ai/api/v1", "sk-of-openrouter"),
        ("http://api.openai.com", None),
        ("https://api.openai.com:8443", None),
        ("https://api.openai.com.example.net", None),
        ("https://example.net/api.openai.com", None),
        ("http://127.0.0.1:12000", None),
        ("https://gateway.example.net/v1", None),
    ]:
        with case((url, value)):
            assert credential_for(url, None, ENVIRONMENT).value == value


@each_row("url", ["http://127.0.0.1:12000", "https://api.openai.com"])
def test_a_key_that_is_named_goes_everywhere(url):
    assert credential_for(url, "MINE", ENVIRONMENT).value == "sk-mine"


def test_every_provider_with_a_host_and_a_variable_is_known():
    assert set(OWN_KEYS.values()) == {row.key_env for row in CATALOG.values() if row.base_url and row.key_env}


def test_the_used_key_is_described_with_advice_on_refusals():
    for url, key_env, env, said, advised in [
        ("http://h:1", None, {}, "sending no key (--key-env NAME", "the load sent no key: give the variable"),
        ("https://api.openai.com", None, {}, "because $OPENAI_API_KEY is not set", "the load sent no key"),
        ("https://api.openai.com", None, ENVIRONMENT, "$OPENAI_API_KEY, because this is the provider's own host",
         "the server rejects the key in $OPENAI_API_KEY"),
        ("http://h:1", "MINE", ENVIRONMENT, "http://h:1: using the key in $MINE",
         "the server rejects the key in $MINE: give the variable"),
        ("http://h:1?key=sk-secret", None, {}, "http://h:1?key=***", "the load sent no key"),
    ]:  # fmt: skip
        with case((url, key_env, env, said, advised)):
            found = credential_for(url, key_env, env)
            assert said in describe_key(url, found)
            assert advised in key_advice(found)
            assert "$TRIGATE_API_KEY" in key_advice(found)


# The command

KEYS = {"OPENAI_API_KEY": "sk-openai", "ANTHROPIC_API_KEY": "sk-anthropic", "TRIGATE_API_KEY": "sk-gateway"}
ONCE = ("--model", "m", "--rate", "1", "--seconds", "1")


@pytest.mark.process
def test_no_key_of_the_environment_reaches_a_server_unasked(upstream):
    upstream.script(Script("well"))
    found = run("load", upstream.url, "--api", "messages", *ONCE, env=KEYS)  # which key is sent is no matter of the API
    assert found.returncode == 0, found.stderr
    (seen,) = upstream.seen
    assert not any("sk-" in value for _, value in seen.headers)
    assert f"{upstream.url}: sending no key (--key-env NAME sends the key in $NAME)" in found.stderr


@pytest.mark.process
@pytest.mark.parametrize(("api", "header"), [("chat", "authorization"), ("messages", "x-api-key")])
def test_the_key_that_is_named_is_sent(upstream, api, header):
    upstream.script(Script("well"))
    found = run("load", upstream.url, "--api", api, "--key-env", "TRIGATE_API_KEY", *ONCE, env=KEYS)
    assert found.returncode == 0, found.stderr
    assert upstream.seen[0].header(header).removeprefix("Bearer ") == "sk-gateway"
    assert f"{upstream.url}: using the key in $TRIGATE_API_KEY.\n" in found.stderr
    assert "sk-gateway" not in found.stdout + found.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "said"), [((), "the load sent no key"), (("--key-env", "OPENAI_API_KEY"), "rejects the key")]
)
def test_a_refused_key_is_reported_with_what_to_do(upstream, args, said):
    upstream.script(REFUSAL)
    found = run("load", upstream.url, *args, *ONCE, env=KEYS)
    last = found.stderr.splitlines()[-1]
    assert last.startswith(f"status 401: {upstream.url}: ")
    assert said in last
    assert "$TRIGATE_API_KEY" in last
    assert "--key-env" in last
