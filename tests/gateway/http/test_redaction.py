"""Credentials in texts, in every way in which they may be spelled there (RFC 8259, section 7; RFC 3986, section
2.1)."""

import importlib
import json
import pkgutil
import time
import urllib.parse
from typing import Any, Final, cast

import attrs
from hypothesis import given
from hypothesis import strategies as st

import gateway.config
import gateway.features
from configfile.keys import KEY as DECLARED
from configfile.keys import add_part, parts, setting, with_part
from gateway.config.credentials import secrets_in
from gateway.config_files.loading import from_mapping
from gateway.http.redaction import (
    LONGEST_SPELLED,
    REDACTED,
    WINDOW,
    SecretSearch,
    credentials_among,
    redact,
    redact_spelled,
    search_forms,
)
from tests.support.each_row import each_row
from tests.support.features import is_without_needed, members_of, rows_of
from tests.support.growth import steps

KEY = "sk-proj-aB3_/+=.xyz9"
SECRETS = search_forms([KEY])


def escape_unicode(text: str, digits: str = "04x") -> str:
    return "".join(f"\\u{ord(char):{digits}}" for char in text)


@each_row(
    "spelling",
    [
        KEY,
        escape_unicode(KEY),
        escape_unicode(KEY, "04X"),
        KEY.replace("-", "\\u002d"),
        KEY.replace("/", "\\/"),
        json.dumps(json.dumps(KEY.replace("-", "\\u002d"))),
        urllib.parse.quote(KEY, safe=""),
        urllib.parse.quote(urllib.parse.quote(KEY, safe="")),
        "".join(f"%{ord(char):02x}" for char in KEY),
        escape_unicode(urllib.parse.quote(KEY, safe="")).replace("\\u0073", "s"),
    ],
)
def test_a_credential_is_found_in_every_spelling(spelling):
    found = redact_spelled(f'{{"message": "bad key {spelling} \\u00e9", "x" : 1.0}}'.encode(), SECRETS)
    if "\\u0025" not in spelling:  # one spelling within the other
        assert b"[redacted]" in found
        assert found.startswith(b'{"message": "bad key ')
        assert found.endswith(b'\\u00e9", "x" : 1.0}')
    for part in (KEY[8:], spelling[-12:]):
        assert part.encode() not in found or "\\u0025" in spelling


@given(st.data())
def test_a_mixture_of_spellings_is_one_too(data):
    ways = (lambda char: char, escape_unicode, lambda char: f"%{ord(char):02X}", lambda char: f"\\\\u{ord(char):04x}")
    text = "".join(data.draw(st.sampled_from(ways))(char) for char in KEY)
    assert redact_spelled(f"<{text}>".encode(), SECRETS) == b"<[redacted]>"


@given(st.binary(max_size=200))
def test_text_without_credentials_stays_unchanged(data):
    assert redact_spelled(data, SECRETS) == data


@each_row("part", [b"s", b"%", b"%25", b"\\", b"sk-proj-", b"%73%6b%2d", b"\\u0073"])
def test_the_search_is_bounded(part):
    data = part * (LONGEST_SPELLED // len(part))
    assert redact_spelled(data, SECRETS) == data
    assert redact_spelled(data + b"\\u0073" * 9, SECRETS).startswith(data)


def test_a_long_or_odd_credential_costs_no_more_than_a_short_one():
    """Clients choose those that pass to providers: a pattern for each took half a minute, and blocked all else."""
    secrets = search_forms([KEY * 4000, *(f"{number}{KEY}" for number in range(1000)), "redacted", "%61%62%63"])
    began = time.process_time()
    found = redact_spelled(
        b'{"message": "100% of \\u0072edacted, abc and ' + escape_unicode(f"7{KEY}").encode() + b'"}', secrets
    )
    assert found == b'{"message": "100% of [redacted], abc and [redacted]"}'
    assert time.process_time() - began < 5


@given(st.text("ab-", max_size=6), st.lists(st.sampled_from(["aab-aab-", "aab-", "a", "b"]), max_size=12), st.data())
def test_a_large_text_is_searched_in_windows(padding, parts, data):
    word = "aab-aab-"
    start = data.draw(st.integers(max(0, WINDOW - 40), WINDOW + 8))
    text = "x" * start + "".join(parts) + padding + "y" * WINDOW
    assert redact(text.encode(), search_forms([word])) == text.replace(word, REDACTED.decode()).encode()


# The credentials of a configuration

SECRET_SETTINGS: Final[dict[str, Any]] = {
    "version": "v0.4.0",
    "public_url": "https://llm.example",
    "signing_key": "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk=",
    "model_providers": [
        {
            "model": "openai/m",
            "access_key": "secret-of-entry",
            "base_url": "https://llm.example/v1?code=secret-in-query",
            "headers": {"x-auth": "secret-in-header", "x-region": "public-region"},
        },
        {
            "model": "amazon_bedrock/m",
            "base_url": "https://bedrock-runtime.eu-west-1.amazonaws.com",
            "sign_in": {
                "type": "aws", "region": "eu-west-1", "role_arn": "arn:aws:iam::1:role/r",
                "external_id": "secret-external",
                "access_key_id": "secret-access-id", "secret_access_key": "secret-access-key",
                "session_token": "secret-session-token",
            },
        },
        {
            "model": "azure_openai/m",
            "base_url": "https://x.openai.azure.com/openai/v1",
            "sign_in": {"type": "azure", "tenant_id": "t", "client_id": "c", "client_secret": "secret-of-azure"},
        },
    ],
    **members_of("mcp", mcp_servers=[
        {"name": "tools", "base_url": "https://mcp.example/mcp", "access_key": "secret-of-mcp-server"},
        *rows_of("people", *rows_of("mcp_sign_in", {
            "name": "own", "base_url": "https://mcp.example/own",
            "token_exchange": {
                "token_url": "https://id.example/token", "client_id": "trigate", "client_secret": "secret-of-exchange",
            },
        })),
    ]),
    "client_keys": [
        {"name": "ann", "key": "secret-of-ann-with-enough-length"},
        {"name": "bob", "keys": [{"key": "secret-of-bob-with-enough-length"}]},
    ],
    **members_of("people", issuers=[
        {
            "name": "acme", "issuer": "https://id.example", "audience": ["trigate"],
            "admit": [{"when": {"groups": "ml"}}],
            "login": {"client_id": "trigate", "client_secret": "secret-of-login"},
        }
    ]),
    "state_storage": {"type": "postgres", "connection_string": "postgresql://trigate:secret-of-state@db.example/x"},
    "counters": {"type": "redis", "url": "rediss://trigate:secret-of-counters@redis.example:6379/0"},
    **members_of("answer_cache", cache={"type": "redis", "url": "rediss://trigate:secret-of-cache@redis.example:6379/1"}),
    **members_of("web_search", web_search={"type": "brave", "key": "secret-of-search"}),
    **members_of("secret_stores", secret_stores={
        "vault": {"url": "https://vault.example", "token": "secret-of-vault"},
    }),
}  # fmt: skip

NEVER_TEXT: Final = {
    "AcceptedKey.sha256", "ClientKey.sha256", "Config.ui_key", "Config.metrics_key", "Config.signing_key",
    "StateStorage.encryption_key",
}  # fmt: skip
"""Secret keys that the gateway keeps as digests or bytes."""

ELSEWHERE: Final = {"StepSettings.settings", "ClientKey.key"}
"""Settings of steps, whose kinds know which of them are credentials, and a key that becomes one of ``keys``."""


def _declared_secrets() -> set[str]:
    found = set()
    own = pkgutil.walk_packages(gateway.config.__path__, "gateway.config.")
    of_features = pkgutil.walk_packages(gateway.features.__path__, "gateway.features.")
    settings = (one.name for one in of_features if one.name.endswith(".settings") and not is_without_needed(one.name))
    for name in (*(one.name for one in own), *settings):
        for one in vars(importlib.import_module(name)).values():
            if isinstance(one, type) and attrs.has(one):
                keys = ((field.name, field.metadata.get(DECLARED)) for field in attrs.fields(one))
                found |= {f"{one.__name__}.{name}" for name, key in keys if key is not None and key.secret}
    return found


def _set_secrets(value: Any) -> set[str]:
    """Return the keys that are declared as secret and have a value in ``value``."""
    if isinstance(value, tuple):
        return {name for one in value for name in _set_secrets(one)}
    if not attrs.has(type(value)):
        return set()
    found = set()
    for field in attrs.fields(type(value)):
        inner, key = getattr(value, field.name), field.metadata.get(DECLARED)
        found |= _set_secrets(tuple(inner.values()) if field.name == "parts" else inner)
        if key is not None and key.secret and inner:
            found.add(f"{type(value).__name__}.{field.name}")
    return found


def test_every_key_that_is_declared_as_secret_is_redacted():
    """A new key of that kind needs a value here, or a reason why no text of it is kept."""
    config = from_mapping(SECRET_SETTINGS)
    written = json.dumps(SECRET_SETTINGS).replace("@", '"').replace(":", '"').split('"')
    expected = {text for text in written if text.startswith("secret-")} | {"secret-in-query"}
    assert expected <= set(secrets_in(config)), expected - set(secrets_in(config))
    assert "public-region" not in secrets_in(config)
    assert _declared_secrets() - _set_secrets(config) - NEVER_TEXT - ELSEWHERE == set()


def test_a_secret_key_of_a_feature_may_have_several_texts():
    @attrs.frozen
    class Keys:
        tokens: tuple[str, ...] = setting("Tokens.", (), secret=True)

    @attrs.frozen
    class Whole:
        all_entries = ()
        parts: Any = parts()  # noqa: RUF009

    add_part(Whole, Keys)
    assert secrets_in(with_part(cast("Any", Whole()), Keys(("token-of-one", "token-of-two")))) == (
        "token-of-one", "token-of-two",
    )  # fmt: skip


# Thousands of secrets

_KEYS: Final = [f"sk-team-{number:05d}-{'x' * (number % 5)}" for number in range(500)]
_ENDS: Final = st.sampled_from(["", " ", "a", '"', "é", "sk-", "-", "0123456789"])


@given(st.lists(st.tuples(_ENDS, st.sampled_from([*_KEYS, "", "sk-team-", "a-short-key"]), _ENDS), max_size=8))
def test_a_search_for_many_secrets_finds_what_a_search_for_each_finds(parts):
    secrets = [*_KEYS, "a-short-key", "ü" * 20, 'quoted"key"of"the"team']
    text = "".join("".join(part) for part in parts)
    search, forms = SecretSearch(secrets), search_forms(secrets)
    data = text.encode()
    assert search.redact(data) == redact(data, forms)
    assert search.replace_in(text, REDACTED.decode()) == redact(data, forms).decode()


@each_row("secret", ["ü" * 20, 'quoted"key"of"the"team', "exactly-15-long", "x" * 200, "14-characters-"])
def test_each_of_many_secrets_is_found_at_any_place(secret):
    search = SecretSearch([*_KEYS, secret])
    for before in range(20):
        for spelled in {secret, json.dumps(secret, ensure_ascii=False)[1:-1]}:
            text = f"{'-' * before}{spelled}{'=' * (before % 3)}"
            assert secret not in search.replace_in(text, "")
            assert search.redact(text.encode()) == text.replace(spelled, REDACTED.decode()).encode()


def test_the_work_of_a_search_does_not_depend_on_the_number_of_secrets():
    line = f"the model {_KEYS[7]} is unknown " * 20
    few, many = (SecretSearch([f"sk-{number:020d}" for number in range(count)]) for count in (100, 5000))
    assert steps(lambda: many.replace_in(line, "")).total() <= 1.1 * steps(lambda: few.replace_in(line, "")).total()


@each_row(
    ("name", "value", "parts"),
    [
        ("authorization", "Bearer sk-long-enough", ("sk-long-enough",)),
        ("authorization", "bearer sk-long-enough", ("sk-long-enough",)),
        ("authorization", "Basic dXNlcjpwYXNzd29yZA==", ("dXNlcjpwYXNzd29yZA==",)),
        ("x-api-key", "sk-long-enough", ("sk-long-enough",)),
        ("x-secret", "two words", ("two words", "words")),
        ("cookie", "session=abcdefgh; other=ijklmnop", ("session=abcdefgh; other=ijklmnop", "abcdefgh", "ijklmnop")),
        ("x-region", "eu", ()),
    ],
)
def test_each_part_of_a_credential_is_one(name, value, parts):
    assert credentials_among(((name, value),)) == parts
