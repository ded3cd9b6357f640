"""Discovery documents of issuers, and the URLs in them that the gateway requests."""

from typing import Any

import pytest

from gateway.features.people.discovery import (
    BadDocument,
    IssuerMetadata,
    is_permitted_address,
    read_metadata,
    runs_on_this_machine,
    url_problem,
)
from tests.support.each_row import each_row

ISSUER = "https://id.example.com/oauth2/default"


def document(**changed: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/v1/keys", **changed}


def test_the_endpoints_come_from_the_document():
    found = read_metadata(
        document(
            token_endpoint=f"{ISSUER}/v1/token",
            token_endpoint_auth_methods_supported=["client_secret_post"],
            authorization_response_iss_parameter_supported=True,
        ),
        ISSUER,
    )
    assert found == IssuerMetadata(
        ISSUER, f"{ISSUER}/v1/keys", None, f"{ISSUER}/v1/token", wants_secret_in_body=True, sends_issuer=True
    )


@each_row("methods", [None, "client_secret_post", [], ["client_secret_basic", "client_secret_post"], [5]])
def test_the_secret_is_in_the_header_unless_only_the_body_is_accepted(methods: Any):
    found = read_metadata(document(token_endpoint_auth_methods_supported=methods), ISSUER)
    assert not found.wants_secret_in_body


@each_row(
    "wrong",
    [
        None, [], "text", {}, document(issuer=None), document(issuer=f"{ISSUER}/"), document(issuer=ISSUER.upper()),
        document(issuer=[ISSUER]), document(jwks_uri=5), document(jwks_uri=[]), document(token_endpoint={}),
        document(jwks_uri="http://id.example.com/keys"), document(userinfo_endpoint="ftp://id.example.com"),
        document(jwks_uri=""),
    ],
    ids=range(14),
)  # fmt: skip
def test_another_document_is_refused(wrong: Any):
    with pytest.raises(BadDocument):
        read_metadata(wrong, ISSUER)


HOSTILE = (
    # This machine, in the spellings of servers' request forgery (OWASP)
    "http://127.0.0.1/", "http://127.0.0.1:8080/admin", "https://127.0.0.1/", "https://localhost/", "http://localhost:6379/",
    "https://[::1]/", "http://[::1]:80/", "https://127.1.2.3/", "https://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "https://0.0.0.0/",
    # Metadata services of clouds
    "http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "https://[fe80::1]/", "https://[fd00:ec2::254]/",
    "https://[::ffff:169.254.169.254]/", "https://100.100.100.200/", "http://metadata.google.internal/",
    "https://0xa9fea9fe/", "https://2852039166/", "https://169.254.43518/", "https://0/", "https://127.1/",
    # Other schemes, and URLs that parsers read differently
    "file:///etc/passwd", "gopher://id.example.com/", "ftp://id.example.com/", "http://id.example.com/",
    "//id.example.com/",
    "https://", "https:///keys", "id.example.com", "https://user:pw@id.example.com/", "https://id.example.com@127.0.0.1/",
    "https://id.example.com/#x", "https://id.example.com:99999/", "https://id.example.com/\r\nx: y",
    "https://id.ex\u00e4mple.com/",
    "https://id.example.com/ x\x00", "javascript:alert(1)", "",
)  # fmt: skip


@each_row("url", HOSTILE)
def test_a_remote_issuer_cannot_lead_the_gateway_to_other_hosts(url: str):
    assert url_problem(url, may_be_local=False) is not None
    with pytest.raises(BadDocument):
        read_metadata(document(jwks_uri=url), ISSUER)


@pytest.mark.parametrize(
    "url", ["https://keys.example.com/", "https://10.0.0.1:6443/openid/v1/jwks", "https://a.b:8443/?x=1"]
)
def test_https_elsewhere_is_permitted(url: str):
    assert url_problem(url, may_be_local=False) is None


def test_an_issuer_on_this_machine_may_lead_to_it():
    assert url_problem("http://127.0.0.1:5556/dex/keys", may_be_local=True) is None
    for url in ("http://example.com/", "http://169.254.169.254/", "http://0.0.0.0/"):
        assert url_problem(url, may_be_local=True) is not None


def test_the_url_of_an_issuer_decides_whether_it_is_local():
    assert all(map(runs_on_this_machine, ("http://127.0.0.1:5556/dex", "http://localhost/", "https://[::1]:1/")))
    assert not any(map(runs_on_this_machine, (ISSUER, "https://localhost.example.com", "https://[", "urn:example")))


def test_an_address_is_judged_as_connected():
    """A name may resolve to any address, and to another one each time."""
    for address in ("169.254.169.254", "fe80::1%eth0", "::ffff:169.254.1.1", "fd00:ec2::254", "0.0.0.0", "::"):
        assert not is_permitted_address(address), address
    for address in ("10.0.0.1", "192.0.2.1", "127.0.0.1", "2001:db8::1", "fd12::1"):
        assert is_permitted_address(address), address
