"""Models, credentials and variables of LiteLLM's database, which it encrypts with its salt key."""

import base64
import hashlib
import os
import re
import subprocess
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.commands.imports.imported_secrets import environment_line
from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.litellm_secrets import Decryption, salt_key_of
from gateway.commands.imports.result import Result
from gateway.config_files.loading import ConfigError, from_mapping
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.litellm_files import TOKEN_COSTS, file_text, item
from tests.support.quick_yaml import dump_yaml, load_yaml

SALT = "sk-the-salt-of-litellm"
SECRET = "sk-upstream-0123456789-abcdefghijklmnopqrstuvwxyz"


def encrypt(text: str, form: str = "v3", salt: str = SALT) -> str:
    """Return ``text`` as LiteLLM's ``encrypt_value_helper`` stores it, in one of the forms of its versions."""
    key = hashlib.sha256(salt.encode()).digest()
    if form.startswith("nacl"):
        secret = pytest.importorskip("nacl.secret", reason="PyNaCl is not installed")
        encode = base64.b64encode if form == "nacl in plain base64" else base64.urlsafe_b64encode
        return encode(secret.SecretBox(key).encrypt(text.encode())).decode()
    if form == "v3":
        key = HKDF(SHA256(), 32, None, b"litellm-at-rest-v3").derive(salt.encode())
    nonce = os.urandom(12)
    return f"{form}:gcm:{base64.urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, text.encode(), None)).decode()}"


def stored_tables(form: str = "v3", **params: str) -> dict[str, list[dict[str, Any]]]:
    """Return tables with a model whose credential is in its own table, and a variable of the web pages."""
    params = {"model": "openai/gpt-4o", "litellm_credential_name": "of-team", **params}
    return {
        "LiteLLM_VerificationToken": [{"token": "a" * 64, "key_alias": "app", "models": ["stored"]}],
        "LiteLLM_ProxyModelTable": [
            {"model_name": "stored", "model_info": {"id": "1", "db_model": True},
             "litellm_params": {**{name: encrypt(text, form) for name, text in params.items()}, "rpm": 5}},
            {"model_name": "shut", "blocked": True, "litellm_params": {"model": encrypt("openai/x", form)}},
        ],
        "LiteLLM_CredentialsTable": [
            {"credential_name": "of-team", "credential_values": {"api_key": encrypt(SECRET, form)}},
        ],
        "LiteLLM_Config": [{"param_name": "environment_variables", "param_value": {"FROM_UI": encrypt("x y", form)}}],
    }  # fmt: skip


def import_stored(tables: dict[str, Any], salt: str | None = SALT, *models: Any) -> Result:
    found = models or (item("m", "openai/m", api_key="os.environ/FROM_UI", **TOKEN_COSTS),)
    return convert_litellm({"model_list": list(found)}, tables, Decryption(salt))


@pytest.mark.parametrize("form", ["v3", "v2", "nacl", "nacl in plain base64"])
def test_a_stored_model_is_served_and_its_secret_is_a_variable(form):
    result = import_stored(stored_tables(form))
    text = file_text(result)
    config = from_mapping(load_yaml(text))
    (entry,) = [one for one in config.entries if one.name == "stored"]
    assert (entry.provider.id, entry.model, entry.key) == ("openai", "gpt-4o", "$STORED_API_KEY")
    assert (result.values["STORED_API_KEY"], result.values["FROM_UI"]) == (SECRET, "x y")
    assert SECRET not in text + repr(result)
    assert "the key is in LiteLLM's database: set the variable STORED_API_KEY to it" in text
    assert [one["models"] for one in result.client_keys] == [["stored"]]
    assert "omitted, because LiteLLM blocks the model: shut" in text
    assert result.losses == []


@each_row(
    ("salt", "advice"),
    [(None, "set LITELLM_SALT_KEY to LiteLLM's salt key"), ("sk-other", "set LITELLM_SALT_KEY to the key with which")],
)
def test_without_the_right_key_each_is_a_loss_with_advice(salt, advice):
    tables = stored_tables()
    result = import_stored(tables, salt, item("openai/*", "openai/*"))
    losses = {loss.what: loss.why for loss in result.losses}
    for what in ("models that are only in the database: stored", "credentials that are only in the database: of-team"):
        assert advice in losses[what]
    assert "environment_variables (FROM_UI) in the database" in losses
    assert "gcm:" not in file_text(result)
    assert (result.models, len(result.entries)) == (3, 1)


@each_row(
    ("content", "environ", "expected"),
    [
        ({}, {"LITELLM_SALT_KEY": "s", "LITELLM_MASTER_KEY": "m"}, "s"),
        ({}, {"LITELLM_MASTER_KEY": "m"}, "m"),
        ({"general_settings": {"master_key": "in-file"}}, {"LITELLM_MASTER_KEY": "m"}, "in-file"),
        ({"general_settings": {"master_key": "os.environ/OF_FILE"}}, {"OF_FILE": "v"}, "v"),
        ({}, {}, None),
        (["a list"], {}, None),
    ],
)  # fmt: skip
def test_the_master_key_decrypts_where_litellm_has_no_salt_key(content, environ, expected):
    assert salt_key_of(content, environ) == expected


@each_row(
    ("value", "line"),
    [("sk-a_b/c+d==", "A=sk-a_b/c+d=="), ("a b#$c", "A='a b#$c'"), ("it's", "# A: "), ("a\nb", "# A: ")],
)
def test_a_line_of_the_environment_file_never_holds_another_value(value, line):
    assert environment_line("A", value).startswith(line)


SIGN_IN = {
    "microsoft_client_id": "id-ms", "microsoft_client_secret": SECRET, "microsoft_tenant": "acme",
    "generic_client_id": "id-g", "generic_authorization_endpoint": "https://acme.okta.com/oauth2/default/v1/authorize",
    "proxy_base_url": "https://llm.acme.com", "user_email": "admin@acme.com",
}  # fmt: skip


def uncomment(text: str) -> dict[str, Any]:
    """Return the content of the new file with its draft."""
    start = text.index("# LiteLLM's sign-in as a draft")
    draft = text[start : text.index("\n\n", start)].splitlines()[1:]
    return {**load_yaml(text), **load_yaml("\n".join(line.removeprefix("# ") for line in draft))}


@needs_feature("people")
@pytest.mark.parametrize("salt", [SALT, None])
def test_the_sign_in_becomes_a_draft_of_issuers(salt):
    """The draft is a comment, so the import itself gives no person new rights."""
    tables: dict[str, Any] = {
        "LiteLLM_VerificationToken": [{"token": "a" * 64, "key_alias": "app", "team_id": "t"}],
        "LiteLLM_TeamTable": [
            {"team_id": "t", "team_alias": "red", "members_with_roles": [{"user_id": "u", "role": "admin"}]}
        ],
        "LiteLLM_UserTable": [{"user_id": "u", "user_email": "ada@acme.com"}],
        "LiteLLM_SSOConfig": [{
            "sso_settings": {
                **{name: encrypt(value) for name, value in SIGN_IN.items()},
                "role_mappings": {"group_claim": "a.b", "roles": {"proxy_admin": ["ops"], "internal_user": ["all"]}},
                "team_mappings": {"team_ids_jwt_field": "teams"},
            }
        }],
    }  # fmt: skip
    result = import_stored(tables, salt)
    text = file_text(result)
    assert "issuers" not in load_yaml(text)
    assert SECRET not in text
    content = uncomment(text)
    if salt:
        assert not from_mapping(content).ineffective
    else:  # the operator must replace the names of the values
        with pytest.raises(ConfigError, match="'GENERIC_AUTHORIZATION_ENDPOINT'; use an https:// URL"):
            from_mapping(content)
    microsoft, generic = content["issuers"]
    assert microsoft["issuer"] == f"https://login.microsoftonline.com/{'acme' if salt else 'MICROSOFT_TENANT'}/v2.0"
    assert microsoft["claims"] == {"groups": "/a/b"}
    assert generic["issuer"] == ("https://acme.okta.com/oauth2/default" if salt else "GENERIC_AUTHORIZATION_ENDPOINT")
    assert microsoft["login"].get("client_secret") == ("$MICROSOFT_CLIENT_SECRET" if salt else None)
    assert result.values.get("MICROSOFT_CLIENT_SECRET") == (SECRET if salt else None)
    assert microsoft["admit"] == [
        {"when": {"groups": ["ops"]}, "role": "admin"},
        {"when": {"email": ["ada@acme.com"]}, "group": "red", "role": "lead"},
        {"when": {"teams": "t"}, "group": "red"},
        {"when": {"groups": ["all"]}},
    ]
    assert any(choice.startswith("who may sign in") for choice in result.choices)


@each_row(
    ("general", "choice"),
    [
        ({"master_key": "os.environ/LITELLM_MASTER_KEY"}, "the master key stays valid, as an administrator's"),
        ({}, "the master key is not in the file, so it ends"),
    ],
)
def test_the_master_key_is_a_stated_choice(general, choice):
    tables = {"LiteLLM_VerificationToken": [{"token": "a" * 64, "key_alias": "app", "models": []}]}
    content = {"model_list": [item("m", "openai/m", **TOKEN_COSTS)], "general_settings": general}
    result = convert_litellm(content, tables)
    assert [one for one in result.choices if one.startswith(choice)]
    assert f"# decide: {choice}" in file_text(result)


@pytest.mark.server
def test_the_written_files_serve_the_stored_model(server, tmp_path):
    """The secret is in the file of variables only, which no other user of the machine may read."""
    url = server.new_database()
    with mock_thread() as mock, psycopg.connect(url, autocommit=True) as connection:
        connection.execute('CREATE TABLE "LiteLLM_VerificationToken" (token text, key_alias text, models text[])')
        connection.execute('CREATE TABLE "LiteLLM_ProxyModelTable" (model_name text, litellm_params jsonb)')
        connection.execute(
            'INSERT INTO "LiteLLM_VerificationToken" VALUES (%s, %s, %s)',
            (hashlib.sha256(b"sk-client").hexdigest(), "app", ["stored"]),
        )
        params = {"model": "openai/demo", "api_base": f"{mock.url}/v1", "api_key": SECRET}
        connection.execute(
            'INSERT INTO "LiteLLM_ProxyModelTable" VALUES (%s, %s)',
            ("stored", psycopg.types.json.Json({name: encrypt(text) for name, text in params.items()})),
        )
        (tmp_path / "litellm.yaml").write_text(dump_yaml({"model_list": [item("m", "openai/m", api_key="sk-literal")]}))
        args = ("import", "litellm.yaml", "--database", url, "--write", "trigate.yaml")
        said = invoke(*args, cwd=tmp_path, env={"LITELLM_SALT_KEY": SALT})
        assert said.returncode == 0, said.stderr
        environment = tmp_path / "trigate.env"
        lines = environment.read_text().splitlines()[1:]
        assert lines == ["M_API_KEY=sk-literal", f"STORED_API_KEY={SECRET}"]
        assert environment.stat().st_mode & 0o777 == 0o600
        assert "trigate.env has their values (mode 0600)" in said.stderr
        moved = (tmp_path / "trigate.yaml").read_text()
        assert SECRET not in moved + said.stdout + said.stderr
        with gateway_thread(
            {**load_yaml(moved), "listeners": [{"port": 0}]}, env=dict(x.split("=", 1) for x in lines)
        ) as g:
            body = {"model": "stored", "messages": [{"role": "user", "content": "Hello"}]}
            reply = g.request("POST", "/v1/chat/completions", body, {"authorization": "Bearer sk-client"})
            assert reply.status == 200, reply.body


@pytest.mark.process
def test_the_printed_command_sets_the_variables_of_the_result(tmp_path):
    (tmp_path / "litellm.yaml").write_text(dump_yaml({"model_list": [item("m", "openai/m", api_key="sk-literal")]}))
    said = invoke("import", "litellm.yaml", "--write", "my move.yaml", cwd=tmp_path)
    (load,) = re.findall("run `(set -a; .+; set [+]a)`", said.stderr)
    found = subprocess.run(["sh", "-c", f"{load}; env"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "M_API_KEY=sk-literal" in found.stdout.splitlines()


def test_no_file_is_written_if_one_exists(tmp_path):
    (tmp_path / "litellm.yaml").write_text(dump_yaml({"model_list": [item("m", "openai/m", api_key="sk-literal")]}))
    (tmp_path / "trigate.env").write_text("KEPT=1\n")
    said = invoke("import", "litellm.yaml", "--write", "trigate.yaml", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (1, "trigate.env: file exists; give --write the name of a new file\n")
    assert not (tmp_path / "trigate.yaml").exists()
    assert (tmp_path / "trigate.env").read_text() == "KEPT=1\n"
