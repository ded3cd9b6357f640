"""Requests of commands: the reason of a missing response, and the change that helps."""

import os
from pathlib import Path

import pytest
from cryptography import x509

from gateway.commands.fetching import FetchError, client_of, fetch
from tests.support.certificates import LOOPBACK, Authority
from tests.support.each_row import each_row
from tests.support.http_servers import QuietHandler, http_server

PATIENCE = 10.0


def reason_of(url: str) -> str:
    with pytest.raises(FetchError) as raised:
        fetch(url, {}, PATIENCE)
    return str(raised.value)


def test_a_server_without_tls_is_reported_with_the_scheme_to_use():
    with http_server(QuietHandler) as host:
        assert reason_of(f"https://{host}/") == "it does not use TLS, so its URL should begin with http:"


@each_row("proxy", ["socks5://127.0.0.1:1", "bad://x"])
def test_a_proxy_of_another_kind_is_reported_with_its_variable(monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    for send in (lambda url: fetch(url, {}, PATIENCE), client_of):
        with pytest.raises(FetchError, match="not an http or https URL: correct HTTPS_PROXY or ALL_PROXY"):
            send("https://llm.example")


@each_row("key", ["sk-Secret\u8868", "sk-Secret\nx", "sk-Secret ", os.fsdecode(b"sk-Secret\xe9"), "sk-Secret\0"])
def test_a_key_that_no_header_can_contain_is_an_error_without_the_key(key):
    """The words of the client quote the whole header, and commands print them."""
    with http_server(QuietHandler) as host, pytest.raises(FetchError, match="headers cannot contain the key") as raised:
        fetch(f"http://{host}/", {"authorization": f"Bearer {key}"}, PATIENCE)
    assert "secret" not in str(raised.value).lower()


@each_row(
    ("names", "days", "trusted", "reason"),
    [
        (LOOPBACK, 90, False, "SSL_CERT_FILE"),
        (LOOPBACK, -1, True, "its certificate is not trusted: certificate has expired"),
        ((x509.DNSName("llm.example"),), 90, True, "its certificate is not trusted: IP address mismatch"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_reported_with_its_fault(
    tmp_path: Path, monkeypatch, names, days, trusted, reason
):
    authority = Authority(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    with http_server(QuietHandler, authority.pair("server", *names, days=days)) as host:
        found = reason_of(f"https://{host}/")
    assert found.startswith("its certificate is not trusted: ")
    assert reason in found
    assert "_ssl.c" not in found
    assert ("SSL_CERT_FILE" in found) is not trusted
