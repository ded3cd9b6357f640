"""The key that the load tester sends, its notice of that, and its advice if the server rejects the key."""

import pytest

from tests.support.command_line import run
from tests.support.upstreams import Raw, Script

REFUSAL = Raw(401, (("content-type", "application/json"),), (b'{"error": {"message": "no such key"}}',))
KEYS = {"OPENAI_API_KEY": "sk-openai", "ANTHROPIC_API_KEY": "sk-anthropic", "TRIGATE_API_KEY": "sk-gateway"}
ONCE = ("--model", "m", "--rate", "1", "--seconds", "1")


@pytest.mark.process
def test_no_key_from_the_environment_is_sent_without_an_option(upstream):
    upstream.script(Script("well"))
    found = run("load", upstream.url, "--api", "messages", *ONCE, env=KEYS)  # the API does not affect the choice
    assert found.returncode == 0, found.stderr
    (seen,) = upstream.seen
    assert not any("sk-" in value for _, value in seen.headers)
    assert f"{upstream.url}: sending no key (--key-env NAME sends the key in $NAME)" in found.stderr


@pytest.mark.process
@pytest.mark.parametrize(("api", "header"), [("chat", "authorization"), ("messages", "x-api-key")])
def test_the_key_of_the_option_is_sent(upstream, api, header):
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
def test_a_rejected_key_is_reported_with_advice(upstream, args, said):
    upstream.script(REFUSAL)
    found = run("load", upstream.url, *args, *ONCE, env=KEYS)
    last = found.stderr.splitlines()[-1]
    assert last.startswith(f"status 401: {upstream.url}: ")
    assert said in last
    assert "$TRIGATE_API_KEY" in last
    assert "--key-env" in last
