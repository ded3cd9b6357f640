"""The guard against requests that web pages make browsers send: with forms, with images, or after DNS rebinding."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.access.page_guard import GuardedPaths, PageGuard
from gateway.config_files.loading import ConfigError, from_mapping
from streams.errors import GatewayError
from tests.support.each_row import each_row

BARE = {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}]}
KEYED = {"client_keys": [{"name": "me", "key": "of-the-client-0815"}]}
HERE = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
AWAY = {"client": ("10.0.0.7", 1), "server": ("10.0.0.8", 2)}
PAGE = "https://app.example"

GUARDED = (
    GuardedPaths("/ui", ("/ui", "/ui/usage"), are_views=True), GuardedPaths("/oauth", ("/oauth/callback",)),
    GuardedPaths("/device", ("/device",)),
)  # fmt: skip

ROUTES = (
    ("POST", "/v1/chat/completions"), ("POST", "/v1/conversations"), ("POST", "/v1/responses/resp_1/cancel"),
    ("GET", "/v1/responses/resp_1"), ("DELETE", "/v1/conversations/conv_1"), ("GET", "/v1/models"), ("GET", "/metrics"),
    ("GET", "/"), ("GET", "/nothing"),
)  # fmt: skip


def refusal(
    headers: Mapping[str, str], method: str = "POST", path: str = "/v1/chat/completions", ends: Any = HERE,
    kind: str = "http", **root: Any,
) -> int | None:  # fmt: skip
    """Return the status of the refusal, or ``None`` if the guard accepts the request."""
    guard = PageGuard(from_mapping({**BARE, **root}), ("/healthz",), GUARDED)
    named = {name.encode(): value.encode() for name, value in headers.items()}
    try:
        guard.check({"type": kind, "method": method, "path": path, **ends}, named)
    except GatewayError as error:
        return error.info.status
    return None


# Names


LOCAL = ("localhost", "localhost:12000", "LOCALHOST.", "127.0.0.1:12000", "[::1]:12000", "10.0.0.8", "gateway:12000",
         "x", "app.localhost:3000", "host.docker.internal:12000")  # fmt: skip
FOREIGN = ("rebound.example:12000", "127.0.0.1.nip.io", "localhost.example", "evil.internal.example", "[::1", ".",
           "a." * 200, "fe80::1.example")  # fmt: skip


@each_row(("method", "path"), ROUTES)
def test_without_keys_a_loopback_listener_answers_to_names_that_no_page_can_have(method, path):
    """DNS rebinding: CVE-2024-28224."""
    assert [host for host in LOCAL if refusal({"host": host}, method, path) is not None] == []
    assert [host for host in FOREIGN if refusal({"host": host}, method, path) != 403] == []
    assert refusal({}, method, path) is None  # HTTP/1.0, which no browser speaks


def test_a_server_that_does_not_report_its_own_address_counts_as_loopback():
    """ASGI's ``client`` and ``server`` are optional (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
    guard = PageGuard(from_mapping(BARE), ())
    asgi = {"type": "http", "method": "GET", "path": "/v1/models"}
    guard.check(asgi, {b"host": b"localhost"})
    with pytest.raises(GatewayError):
        guard.check(asgi, {b"host": b"rebound.example"})


def test_a_websocket_handshake_is_authenticated_like_a_request():
    assert refusal({"host": "rebound.example"}, path="/v1/responses", kind="websocket") == 403
    assert refusal({"host": "localhost"}, path="/v1/responses", kind="websocket") is None


def test_elsewhere_and_with_keys_any_name_is_right_unless_hosts_say_which():
    assert refusal({"host": "gw.example"}, ends=AWAY) is None
    assert refusal({"host": "gw.example"}, **KEYED) is None
    named = {"hosts": ["GW.example"]}
    for ends, more in ((HERE, {}), (AWAY, {}), (HERE, KEYED), (AWAY, KEYED)):
        assert refusal({"host": "gw.example:443"}, ends=ends, **named, **more) is None
        assert refusal({"host": "other.example"}, ends=ends, **named, **more) == 403
        assert refusal({"host": "10.0.0.8"}, ends=ends, **named, **more) is None
    assert refusal({"host": "localhost"}, **named) is None
    assert refusal({"host": "localhost"}, ends=AWAY, **named) == 403
    assert refusal({"host": "gateway"}, ends=AWAY, **named) == 403


def test_probes_ask_in_any_name():
    for host in FOREIGN:
        assert refusal({"host": host, "origin": PAGE, "sec-fetch-site": "cross-site"}, "GET", "/healthz") is None


@each_row("host", ["http://gw.example", "gw.example:443", "gw.example/v1", "*.example", "", 7])
def test_an_invalid_host_name_is_a_mistake(host):
    with pytest.raises(ConfigError, match="hosts"):
        from_mapping({**BARE, "hosts": [host]})


# Pages


@each_row(("method", "path"), ROUTES)
@each_row("ends", [HERE, AWAY], ids=["loopback", "elsewhere"])
def test_without_keys_another_page_gets_nothing(method, path, ends):
    def probe(**headers: str) -> int | None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return refusal({"host": "localhost:12000", **named}, method, path, ends, cors=[PAGE])

    for origin in ("https://evil.example", "null", "http://localhost:3000", "http://localhost", "", "localhost:12000"):
        assert probe(origin=origin) == 403, origin
        assert probe(origin=origin, content_type="application/json") == 403
    for site in ("cross-site", "same-site"):
        assert probe(sec_fetch_site=site, sec_fetch_mode="no-cors") == 403
        assert probe(sec_fetch_site=site, sec_fetch_mode="cors", origin=PAGE) is None
    for mine in ({}, {"origin": PAGE}, {"origin": "http://localhost:12000"}, {"sec_fetch_site": "none"},
                 {"sec_fetch_site": "same-origin"}):  # fmt: skip
        assert probe(**mine) is None, mine


def test_the_question_whether_a_page_may_ask_is_left_to_cors():
    assert refusal({"host": "localhost", "origin": "https://evil.example"}, "OPTIONS") is None
    assert refusal({"host": "rebound.example", "origin": "https://evil.example"}, "OPTIONS") == 403


def test_all_pages_may_send_requests_if_the_config_permits_it():
    for headers in ({"origin": "https://any.example"}, {"sec-fetch-site": "cross-site"}):
        assert refusal({"host": "localhost", **headers}, cors=["*"]) is None


def test_a_name_of_the_gateways_is_its_own_origin_behind_a_proxy_that_changes_host():
    headers = {"host": "127.0.0.1:12000", "origin": "https://gw.example"}
    assert refusal(headers) == 403
    assert refusal(headers, hosts=["gw.example"]) is None


def test_with_keys_the_key_is_the_guard_but_for_a_handshake():
    """A page has no key, and cannot send one unasked; a browser opens a WebSocket without a preflight (RFC 6455,
    section 10.2)."""
    headers = {"host": "gw.example", "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert refusal(headers, **KEYED) is None
    assert refusal(headers, path="/v1/responses", kind="websocket", **KEYED) == 403
    assert refusal(headers, path="/v1/responses", kind="websocket", cors=["https://evil.example"], **KEYED) is None


# Guarded paths


FILES = ("/ui", "/ui/events", "/ui/models")


@each_row(
    ("host", "ends", "status"),
    [
        ("localhost:12000", HERE, None),
        ("127.0.0.1", HERE, None),
        ("[::1]:12000", {"client": ("::1", 1), "server": ("::1", 2)}, None),
        ("rebound.example:12000", HERE, 403),
        ("gateway", HERE, 403),
        ("10.0.0.8", HERE, 403),
        ("", HERE, 403),
        ("localhost", {**HERE, "client": ("10.0.0.7", 1)}, 403),
        ("localhost", {**HERE, "server": ("10.0.0.8", 1)}, 403),
        ("localhost", {"client": None, "server": None}, 403),
        ("localhost", {"client": None, "server": ("/run/gw.sock", None)}, 403),
    ],
)
def test_without_a_key_only_this_machine_may_look(host, ends, status):
    for path in FILES:
        assert refusal({"host": host}, "GET", path, ends) == status


@each_row(
    "name",
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-server", "x-real-ip",
     "forwarded", "via", "cf-connecting-ip", "cf-ray", "cf-visitor", "true-client-ip", "x-envoy-external-address",
     "x-original-forwarded-for", "fly-client-ip", "x-azure-clientip", "x-azure-socketip", "x-appengine-user-ip",
     "x-cluster-client-ip", "x-vercel-ip-country", "x-nf-client-connection-ip", "do-connecting-ip", "fastly-client-ip",
     "x-cloud-trace-context", "tailscale-user-login", "forwarded-for"],
)  # fmt: skip
def test_a_proxied_request_does_not_count_as_local(name):
    """nginx's default configuration sends a loopback address as the host, without the original one."""
    assert refusal({"host": "127.0.0.1:12000", name: "https"}, "GET", "/ui/events") == 403
    assert refusal({"host": "127.0.0.1:12000", name: "https"}, "GET", "/ui/events", ui_key="of-the-operator") is None


@pytest.mark.parametrize("more", [{}, {"ui_key": "of-the-operator"}, KEYED], ids=["open", "ui_key", "keys"])
def test_a_view_answers_its_own_page_only(more):
    """A browser sends a password that it remembers with any page's requests."""

    def probe(path: str, **headers: str) -> int | None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return refusal({"host": "localhost:12000", **named}, "GET", path, cors=["*"], **more)

    for path in FILES:
        for site in ("cross-site", "same-site"):
            assert probe(path, sec_fetch_site=site, sec_fetch_mode="cors") == 403
        assert probe(path, origin="https://evil.example") == 403
        assert probe(path, sec_fetch_site="same-origin", sec_fetch_mode="cors", origin="http://localhost:12000") is None
    assert probe("/ui", sec_fetch_site="cross-site", sec_fetch_mode="navigate") is None  # a link
    assert probe("/ui/events", sec_fetch_site="cross-site", sec_fetch_mode="navigate") == 403


def test_a_form_of_a_page_without_referrer_is_the_own_pages():
    """Such a form sends ``Origin: null`` (https://fetch.spec.whatwg.org/#append-a-request-origin-header)."""
    form = {"host": "localhost:12000", "origin": "null", "sec-fetch-mode": "navigate"}
    assert refusal({**form, "sec-fetch-site": "same-origin"}, "POST", "/ui/keys") is None
    for site in ("same-site", "cross-site", "none"):
        assert refusal({**form, "sec-fetch-site": site}, "POST", "/ui/keys") == 403
    assert refusal(form, "POST", "/ui/keys") == 403


def test_links_lead_only_to_pages_for_people():
    link = {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    for path in ("/", "/oauth/callback", "/device", "/ui/usage"):
        assert refusal(link, "GET", path) is None
    assert refusal(link, "GET", "/v1/responses/resp_1") == 403
    assert refusal(link, "POST", "/") == 403


def test_guarded_paths_are_checked_with_keys_too():
    page = {"host": "localhost", "origin": "https://evil.example"}
    found = {path: refusal(page, path=path, **KEYED) for path in ("/oauth/token", "/device", "/oauth", "/oauthx")}
    assert found == {"/oauth/token": 403, "/device": 403, "/oauth": 403, "/oauthx": None}
