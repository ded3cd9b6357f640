"""A configuration that no user has chosen: it is in the current directory, which may be a stranger's repository. The
name on the command line permits it, like direnv's ``allow`` (https://direnv.net/man/direnv.1.html)."""

from pathlib import Path
from typing import Any

from gateway.config.settings import Trust
from gateway.config_files.loading import ConfigError, load
from providers.catalog.providers import CATALOG
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import members_of
from tests.support.quick_yaml import dump_yaml

ENV = {
    "OPENAI_API_KEY": "secret-openai",
    "ANTHROPIC_AUTH_TOKEN": "secret-anthropic",
    "AZURE_OPENAI_API_KEY": "secret-azure",
    "AWS_SECRET_ACCESS_KEY": "secret-aws",
    "AWS_REGION": "eu-central-1",
    "AWS_BEARER_TOKEN_BEDROCK": "secret-bedrock",
    "GITHUB_TOKEN": "secret-github",
    "NPM_TOKEN_FILE": "/dev/null",
    "DATABASE_URL": "postgresql://u:secret@localhost/d",
    "TEAM_KEY": "secret-team",
    "HOME": "/home/secret-user",
    **{f"{row.key_env}": f"secret-{row.id}" for row in CATALOG.values() if row.key_env},
}


def mistakes(folder: Path, trust: Trust, **content: Any) -> str:
    file = folder / "trigate.yaml"
    file.write_text(dump_yaml({"version": "v0.3.0", "model_providers": [{"model": "openai/m"}], **content}))
    try:
        load(file, ENV, trust=trust)
    except ConfigError as error:
        return str(error)
    return ""


def entry(model: Any = "own/m", **more: Any) -> dict[str, Any]:
    return {"model_providers": [{"model": model, **more}]}


ELSEWHERE = "https://models.evil.example/v1"
REFUSED = {
    "a provider's key to a host of its own": entry(base_url=ELSEWHERE, access_key="$OPENAI_API_KEY"),
    "a provider's key under another's name": entry("openai/m", base_url=ELSEWHERE, access_key="${OPENAI_API_KEY}"),
    "one provider's key to another": entry("groq/m", access_key="$OPENAI_API_KEY"),
    "a credential of the cloud": entry("openai/m", access_key="$AWS_SECRET_ACCESS_KEY"),
    "in a header": entry("openai/m", headers={"x-a": "b $GITHUB_TOKEN"}),
    "in an address": entry(base_url=f"{ELSEWHERE}?k=$OPENAI_API_KEY"),
    "in a host's name": entry(base_url="https://$GITHUB_TOKEN.evil.example/v1"),
    "in a model's name": entry("own/$GITHUB_TOKEN", base_url=ELSEWHERE),
    "a host that begins like it": entry(base_url="https://api.openai.com.evil.example", access_key="$OPENAI_API_KEY"),
    "a host that is user and host": entry(base_url="https://notapi.openai.com", access_key="$OPENAI_API_KEY"),
    "a known provider elsewhere": {
        **entry("anthropic/m", access_key="$ANTHROPIC_API_KEY"), "providers": {"claude": {"base_url": ELSEWHERE}},
    },
    "without TLS": entry(base_url="http://api.openai.com/v1", access_key="$OPENAI_API_KEY"),
    "a bucket called bedrock": entry(
        base_url="https://bedrock-runtime.x.s3.amazonaws.com", access_key="$AWS_BEARER_TOKEN_BEDROCK"
    ),
    **members_of(
        "tracing", **{"to a collector": {"tracing": {"endpoint": "https://evil.example/$OPENAI_API_KEY"}}}
    ),
    "to a database": {
        "state_storage": {"type": "postgres", "connection_string": "host=evil.example user=$DATABASE_URL"},
    },
    "another program's key of the provider": entry("openai/m", access_key="$ANTHROPIC_AUTH_TOKEN"),
    "a file elsewhere": entry("openai/m", access_key={"file": "/etc/hostname"}),
    "a sign-in elsewhere": entry("amazon_bedrock/m", base_url=ELSEWHERE, sign_in="aws"),
    "a sign-in at a bucket": entry("a/m", base_url="https://bedrock-runtime.x.s3.amazonaws.com/v1", sign_in="aws"),
    "a sign-in at a customer's host": entry("a/m", base_url="https://x.westus.cloudapp.azure.com/v1", sign_in="azure"),
    "a sign-in without TLS": entry("a/m", base_url="http://aiplatform.googleapis.com/v1", sign_in="google"),
    "a sign-in as a stranger says": entry(
        "a/m", base_url="https://aiplatform.googleapis.com/v1", sign_in={"type": "google", "credentials_file": "./key"}
    ),
    "a file above": entry("openai/m", access_key={"file": "../key"}),
    "an audit in a file elsewhere": {"audit": "$HOME/.bashrc"},
    "an audit in a file above": {"audit": "../.bashrc"},
}  # fmt: skip
TAKEN = {
    "a provider's own key": entry("openai/m", access_key="$OPENAI_API_KEY"),
    "its region": entry(base_url="https://eu.api.openai.com/v1", access_key="$OPENAI_API_KEY"),
    "its host by another name": entry("mine/m", base_url="https://api.openai.com/v1", access_key="$OPENAI_API_KEY"),
    "Azure": entry("azure_openai/m", base_url="https://team.openai.azure.com", access_key="$AZURE_OPENAI_API_KEY"),
    "Bedrock": entry(
        "amazon_bedrock/m", base_url="https://bedrock-runtime.$AWS_REGION.amazonaws.com/openai/v1",
        access_key="$AWS_BEARER_TOKEN_BEDROCK",
    ),
    "a sign-in at its cloud": entry(
        "amazon_bedrock/m", base_url="https://bedrock-mantle.us-east-1.api.aws/anthropic/v1",
        sign_in={"type": "aws", "region": "us-east-1"},
    ),
    "this machine": entry(base_url="http://127.0.0.1:51001/v1", access_key="$OPENAI_API_KEY"),
    "a variable of one's own": entry(base_url="https://llm.corp.example/v1", access_key="$TEAM_KEY"),
    "a key that stays here": {"client_keys": [{"name": "a", "key": "$OPENAI_API_KEY"}]},
    "the whole address of a database": {"state_storage": {"type": "postgres", "connection_string": "${DATABASE_URL}"}},
    "an audit on standard error": {"audit": "stderr"},
}  # fmt: skip


@each_row("content", REFUSED.values(), ids=REFUSED)
def test_a_found_configuration_may_not_send_secrets_elsewhere(tmp_path, content):
    (tmp_path.parent / "key").write_text("k")
    said = mistakes(tmp_path, "found", **content)
    assert "in the current directory" in said
    assert not [value for value in ENV.values() if value in said]
    assert "`--config ./trigate.yaml`" in said
    assert "in the current directory" not in mistakes(tmp_path, "named", **content)


@each_row("content", TAKEN.values(), ids=TAKEN)
def test_the_everyday_needs_no_name(tmp_path, content):
    assert mistakes(tmp_path, "found", **content) == ""


UNADDRESSED = {
    "an unknown provider": entry("opnai/m", access_key="$OPENAI_API_KEY"),
    "a model without a provider": entry("m", access_key="$OPENAI_API_KEY"),
    "a model that is no text": entry({"name": "openai/m"}, access_key="$OPENAI_API_KEY"),
    "an address without a scheme": entry("openai/m", base_url="localhost:8000", access_key="$OPENAI_API_KEY"),
    "an address with a space": entry("openai/m", base_url="http://local host/v1", access_key="$OPENAI_API_KEY"),
    "no address": entry("azure_openai/m", access_key="$OPENAI_API_KEY"),
    "no region": entry("amazon_bedrock/m", access_key="$OPENAI_API_KEY"),
}  # fmt: skip


@each_row("content", UNADDRESSED.values(), ids=UNADDRESSED)
def test_a_mistake_of_the_address_is_the_only_one(tmp_path, content):
    said = mistakes(tmp_path, "found", **content)
    assert said
    assert said == mistakes(tmp_path, "named", **content)


def test_a_file_in_the_folder_is_the_folders_but_not_a_link_out_of_it(tmp_path):
    (tmp_path / "key").write_text("k")
    (tmp_path / "link").symlink_to("/etc/hostname")
    own, link = ({"access_key": {"file": str(tmp_path / name)}} for name in ("key", "link"))
    assert mistakes(tmp_path, "found", **entry("openai/m", **own)) == ""
    assert "in the current directory" in mistakes(tmp_path, "found", **entry("openai/m", **link))


def test_an_audit_in_the_folder_needs_no_name_but_a_link_out_of_it_does(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path.parent / ".bashrc")
    assert mistakes(tmp_path, "found", audit=str(tmp_path / "audit.jsonl")) == ""
    assert "it writes a file outside it" in mistakes(tmp_path, "found", audit=str(tmp_path / "link"))


@each_row("row", [row for row in CATALOG.values() if row.key_env], ids=lambda row: row.id)
def test_every_providers_own_variable_may_go_to_the_address_of_its_row(tmp_path, row):
    more = {} if row.base_url else {"base_url": row.address.replace("NAME", "name").lower()}
    more |= dict.fromkeys(row.missing_settings(None), "us-east-1")
    assert mistakes(tmp_path, "found", **entry(f"{row.id}/*", access_key=f"${row.key_env}", **more)) == ""


def test_the_command_line_and_the_environment_name_a_file(tmp_path):
    (tmp_path / "trigate.yaml").write_text(
        dump_yaml({"version": "v0.3.0", **entry(base_url=ELSEWHERE, access_key="$NPM_TOKEN")})
    )
    env = {"NPM_TOKEN": "secret-npm"}
    for command in ("check", "doctor", "serve"):
        refused = invoke(command, cwd=tmp_path, env=env)
        assert (refused.returncode, "in the current directory" in refused.stderr) == (1, True)
        assert "secret-npm" not in refused.stderr
    assert invoke("check", "trigate.yaml", cwd=tmp_path, env=env).returncode == 0
    assert invoke("check", cwd=tmp_path, env={**env, "TRIGATE_CONFIG": "trigate.yaml"}).returncode == 0
