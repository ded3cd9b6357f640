"""The headers and members of a query that cross the gateway, as tables: it passes no others."""

import email.utils
import time

import pytest

from gateway.config_files.entries import NEVER_PASSED, reason_never
from gateway.config_files.loading import ConfigError, from_mapping
from gateway.http.headers import (
    bounded_waits,
    may_hold_key,
    passthrough_headers,
    translated_headers,
    upstream_headers,
    upstream_query,
    with_key_in_header,
)
from gateway.http.passing import ACCOUNT, TO_CLIENT, TO_PROVIDER, to_client, to_provider
from providers.apis import CODECS
from providers.catalog.providers import CATALOG
from streams.events import APIS, Api
from tests.support.cases import case
from tests.support.each_row import each_row

ROWS = (*TO_PROVIDER.items(), *TO_CLIENT.items(), *ACCOUNT.items(), *NEVER_PASSED.items())


def sent_to(api: Api, *names: str, provider: tuple[str, ...] = (), added: tuple[str, ...] = (), own: bool = False):
    passing = to_provider(CODECS[api].wire.client_headers, provider, added, own)
    return [name for name, _ in upstream_headers([(name, "v") for name in names], passing)]


def for_client(*names: str, added: tuple[str, ...] = (), own: bool = False):
    return [name for name, _ in passthrough_headers(tuple((name, "v") for name in names), to_client(added, own))]


def test_every_row_has_its_reason():
    for name, reason in ROWS:
        with case((name, reason)):
            assert name == name.lower()
            assert "*" not in name.removesuffix("*")
            assert len(reason) > 3


@each_row("rows", [TO_PROVIDER, TO_CLIENT, ACCOUNT, *(codec.wire.client_headers for codec in CODECS.values())])
def test_no_header_list_contains_a_forbidden_header(rows):
    assert [name for name in rows if reason_never(name) is not None] == []


# The headers of the recorded programs: Claude Code 2.1, Codex 0.169, OpenCode 1.18, the SDKs of November 2026.
SESSIONS = ("user-agent", "x-stainless-lang", "x-stainless-retry-count", "x-session-id", "x-session-affinity")
CLAUDE = ("anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access", "x-app",
          "x-claude-code-session-id")  # fmt: skip
CODEX = ("originator", "session-id", "thread-id", "x-codex-window-id", "x-codex-turn-metadata", "openai-beta",
         "x-openai-internal-codex-responses-lite", "x-client-request-id")  # fmt: skip


@pytest.mark.parametrize(
    ("api", "names"), [("chat", SESSIONS), ("messages", (*SESSIONS, *CLAUDE)), ("responses", (*SESSIONS, *CODEX))]
)
def test_provider_headers_of_real_programs_reach_the_provider(api, names):
    assert sent_to(api, *names) == list(names)


def test_headers_of_one_api_go_to_providers_of_no_other():
    assert sent_to("chat", *CLAUDE) == sent_to("responses", *CLAUDE) == []
    assert sent_to("messages", *CODEX) == ["x-client-request-id"]


STAYING = (
    "authorization", "x-api-key", "x-trigate-key", "cookie", "origin", "referer", "sec-fetch-mode", "forwarded",
    "x-forwarded-for", "x-real-ip", "via", "cf-access-jwt-assertion", "x-amzn-oidc-identity", "x-ms-token-x",
    "x-goog-iap-jwt-assertion", "x-auth-request-email", "x-vault-token", "private-token", "baggage", "true-client-ip",
    "x-original-url", "x-http-method-override", "x-made-up", "openai-organization", "anthropic-workspace-id",
    "x-goog-user-project", "access-control-x", "x-arch-y",
)  # fmt: skip


def test_all_other_headers_stay_in_the_gateway():
    for api in APIS:
        for name in STAYING:
            with case((api, name)):
                assert sent_to(api, name) == []


def test_headers_listed_in_connection_do_not_reach_the_provider():
    headers = (("connection", "close, user-agent"), ("user-agent", "x"), ("x-stainless-os", "Linux"))
    assert upstream_headers(headers, to_provider((), (), (), False)) == (("x-stainless-os", "Linux"),)


@each_row("name", ACCOUNT)
def test_billing_headers_pass_only_with_the_clients_own_credential(name):
    for api in APIS:
        assert sent_to(api, name) == []
        assert sent_to(api, name, own=True) == sent_to(api, name, added=(name,)) == [name]
    assert (for_client(name), for_client(name, own=True), for_client(name, added=(name,))) == ([], [name], [name])


@pytest.mark.parametrize(
    ("provider", "name"), [("openrouter", "x-title"), ("vercel", "http-referer"), ("xai", "x-grok-conv-id")]
)
def test_a_providers_own_headers_are_in_its_row(provider, name):
    assert sent_to("chat", name, provider=CATALOG[provider].client_headers) == [name]
    assert sent_to("chat", name) == []


@each_row("row", CATALOG.values(), ids=lambda row: row.id)
def test_no_row_forwards_a_credential_header(row):
    assert [name for name in row.client_headers if reason_never(name) or name in ACCOUNT] == []


# Headers for clients


@each_row(
    "name",
    [
        "retry-after-x", "clear-site-data", "nel", "report-to", "refresh", "link", "location", "www-authenticate",
        "set-cookie", "server", "content-disposition", "content-type", "content-encoding", "x-request-id", "request-id",
        "access-control-allow-origin", "x-trigate-lane", "x-made-up", "via", "alt-svc",
    ],
)  # fmt: skip
def test_no_other_header_of_a_provider_reaches_clients(name):
    assert for_client(name) == []


@each_row(
    ("name", "value", "told"),
    [
        ("retry-after", "9", "9"), ("retry-after", "0.5", "0.5"), ("retry-after", "3600", "3600"),
        ("retry-after", "604800", "604800"), ("retry-after", "99999999", "2678400"), ("retry-after", "inf", "2678400"),
        ("retry-after", "-1", None), ("retry-after", "nan", None), ("retry-after", "soon", None),
        ("retry-after", "sk-key-0123456789", None), ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT", "2678400"),
        ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", "0"), ("retry-after-ms", "250", "250"),
        ("retry-after-ms", "4e9", "2678400000"), ("retry-after-ms", "Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("x-should-retry", "true", "true"), ("x-should-retry", "false", "false"), ("x-should-retry", "sk-key", None),
    ],
)  # fmt: skip
def test_no_wait_is_longer_than_a_month(name, value, told):
    headers = ((name, value), ("cf-ray", "1"))
    expected = [(name, told)] * (told is not None)
    assert list(bounded_waits(headers)) == [*expected, ("cf-ray", "1")]
    assert list(translated_headers(headers)) == expected


def test_headers_listed_in_connection_do_not_reach_the_client():
    headers = (
        ("connection", "x-ratelimit-hop, cf-ray"),
        ("x-ratelimit-hop", "1"),
        ("cf-ray", "1"),
        ("retry-after", "1"),
    )
    assert translated_headers(headers, {"cf-ray"}) == passthrough_headers(headers, to_client((), False))
    assert translated_headers(headers) == (("retry-after", "1"),)


def test_a_wait_until_a_moment_is_reported_in_seconds():
    ((_, told),) = bounded_waits((("retry-after", email.utils.formatdate(time.time() + 60, usegmt=True)),))
    assert 50 <= int(told) <= 61


# The query


@each_row(
    ("api", "query", "passed"),
    [
        ("messages", "beta=true", "beta=true"),
        ("messages", "beta=true&api-version=1&key=k", "beta=true"),
        ("messages", "&&=&beta", "beta"),
        ("chat", "beta=true&api-version=2024-05-01&model=x", ""),
        ("responses", "include%5B%5D=a&limit=2&after=x&api-version=1", "include%5B%5D=a&limit=2&after=x"),
    ],
)
def test_only_known_query_members_pass(api, query, passed):
    assert upstream_query(query, CODECS[api].wire.query_members) == passed


# The configuration


def config_with(*names: str):
    entry = {"model": "openai/gpt-4o", "access_key": "k", "pass_headers": list(names)}
    return from_mapping({"version": "v0.3.0", "model_providers": [entry]})


def test_an_entry_adds_names_in_any_case():
    assert config_with("X-Team", "baggage", "x-cost-*").entries[0].pass_headers == ("x-team", "baggage", "x-cost-*")


@each_row(
    ("name", "words"),
    [
        ("Authorization", "passthrough_auth"), ("set-cookie", "credential"), ("connection", "one connection"),
        ("clear-site-data", "browser"), ("x-trigate-key", "itself"), ("x-trig*", "itself"), ("*", "name of a header"),
        ("a b", "name of a header"), ("", "name of a header"),
    ],
)  # fmt: skip
def test_a_forbidden_pass_header_is_a_mistake_with_the_reason(name, words):
    with pytest.raises(ConfigError) as caught:
        config_with("x-team", name)
    assert "model_providers[0].pass_headers[1]" in str(caught.value)
    assert words in str(caught.value)


# Keys in the query of a request


PATH = "/v1beta/models/m:generateContent"


def test_a_key_in_the_query_becomes_a_header():
    assert with_key_in_header(b"alt=sse&key=sk%2D1&x=y", [(b"host", b"h")]) == (
        b"alt=sse&x=y", [(b"host", b"h"), (b"x-goog-api-key", b"sk-1")],
    )  # fmt: skip
    assert with_key_in_header(b"key=a&key=b", [])[1] == [(b"x-goog-api-key", b"a"), (b"x-goog-api-key", b"b")], (
        "two are refused"
    )
    assert with_key_in_header(b"key=&monkey=1", []) == (b"monkey=1", [])


def test_other_apis_have_no_keys_there():
    assert may_hold_key(PATH, b"key=a")
    assert may_hold_key("/v1beta/models", b"pageSize=1&key=a")
    assert not may_hold_key("/v1/chat/completions", b"key=a")
    assert not may_hold_key(PATH, b"alt=sse")
