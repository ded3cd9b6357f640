"""The parts of a provider's URL, and the proxy for it, without input or output."""

import pytest

from gateway.upstream.address import Origin, parse_address
from gateway.upstream.errors import UpstreamError
from gateway.upstream.proxies import ProxyRules
from tests.support.each_row import each_row


@each_row(
    ("url", "origin", "host", "target"),
    [
        ("https://api.example/v1/x?a=1", Origin("https", "api.example", 443), b"api.example", b"/v1/x?a=1"),
        ("https://api.example:443", Origin("https", "api.example", 443), b"api.example", b"/"),
        ("http://API.Example:8080/V1", Origin("http", "api.example", 8080), b"api.example:8080", b"/V1"),
        ("http://[::1]:8080/", Origin("http", "::1", 8080), b"[::1]:8080", b"/"),
        ("http://u:p@h/", Origin("http", "h", 80), b"h", b"/"),
        ('http://h/a b{c}?q=%7B{"é"}|#f', Origin("http", "h", 80), b"h", b"/a%20b%7Bc%7D?q=%7B{%22%C3%A9%22}|"),
    ],
)
def test_a_url_is_parsed(url, origin, host, target):
    address = parse_address(url)
    assert (address.origin, address.origin.host_header, address.target) == (origin, host, target)


@each_row("url", ["http://h\r\n/", "http://a b/", "http://[::1/", "http://h:-1/", "//h/", "", "http://hé/"])
def test_an_invalid_base_url_is_refused_without_repeating_it(url):
    with pytest.raises(UpstreamError, match="base_url") as caught:
        parse_address(url)
    assert caught.value.cause == "config"


PROXIES = {"https": "http://secure.proxy:3128", "http": "plain.proxy", "all": "http://any.proxy"}


@each_row(
    ("no", "straight", "proxied"),
    [
        ("", [], ["https://example.com", "http://127.0.0.1"]),
        ("*", ["https://example.com", "http://other.example"], []),
        ("x,*", ["https://example.com"], []),
        ("example.com", ["https://example.com", "https://a.b.example.com"], ["https://notexample.com"]),
        ("EXAMPLE.com", ["https://example.com"], []),
        (".example.com", ["https://a.example.com"], ["https://example.com"]),
        ("*.example.com", ["https://a.example.com"], ["https://example.com", "https://a.example.org"]),
        ("localhost", ["http://localhost:8080"], ["http://127.0.0.1:8080"]),
        (
            "10.0.0.0/8, 192.168.1.7",
            ["http://10.1.2.3", "http://192.168.1.7"],
            ["http://11.0.0.1", "http://192.168.1.8"],
        ),
        ("10.0.0.0/8", [], ["http://ten.example"]),
        ("::1", ["http://[::1]:8080"], ["http://[::2]"]),
        ("[fe80::]/16", ["http://[fe80::1]"], ["http://[fd00::1]"]),
        ("example.com:8443", ["https://example.com:8443"], ["https://example.com"]),
        ("https://example.com", ["https://example.com"], ["http://example.com"]),
        ("no/such/entry, a b:c, example.com", ["https://example.com"], ["https://other.example"]),
    ],
)
def test_no_proxy_lists_hosts_that_are_reached_directly(no, straight, proxied):
    rules = ProxyRules({**PROXIES, "no": no})
    found = {url: rules.proxy_for(parse_address(url).origin) for url in (*straight, *proxied)}
    assert [url for url, proxy in found.items() if proxy is None] == straight


def test_the_proxy_is_that_of_the_scheme_and_else_that_for_all():
    def proxy_of(rules: ProxyRules, url: str) -> Origin | None:
        proxy = rules.proxy_for(parse_address(url).origin)
        return proxy and proxy.origin

    rules = ProxyRules(PROXIES)
    assert proxy_of(rules, "https://h/") == Origin("http", "secure.proxy", 3128)
    assert proxy_of(rules, "http://h/") == Origin("http", "plain.proxy", 80)
    assert proxy_of(ProxyRules({"all": PROXIES["all"]}), "https://h/") == Origin("http", "any.proxy", 80)
    assert proxy_of(ProxyRules({"http": "a.proxy", "https": ""}), "https://h/") is None
