"""The URL at which clients reach the gateway, and requests below its path."""

from gateway.http.external_url import make_url_adapter, origin_of_url, read_external_url, url_of_request
from tests.support.each_row import each_row


@each_row(
    ("url", "origin"),
    [
        ("https://LLM.example/", "https://llm.example"),
        ("https://llm.example:443/base", "https://llm.example"),
        ("https://llm.example:8443", "https://llm.example:8443"),
        ("http://127.0.0.1:12000", "http://127.0.0.1:12000"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_the_origin_is_written_as_browsers_write_it(url, origin):
    assert origin_of_url(url) == origin


@each_row(
    ("host", "more", "origin"),
    [
        ("127.0.0.1:12000", (), "http://127.0.0.1:12000"),
        ("[::1]:12000", (), "http://[::1]:12000"),
        ("gw.example.com", (("x-forwarded-proto", "https"),), "https://gw.example.com"),
        ("gw.example.com", (("x-forwarded-proto", "gopher"),), "http://gw.example.com"),
        ('evil"<script>', (), "http://HOST:PORT"),
        ("a b", (), "http://HOST:PORT"),
        ("user:pass@gw", (), "http://HOST:PORT"),
        ("gw/path", (), "http://HOST:PORT"),
        ("", (), "http://HOST:PORT"),
        ("x" * 300, (), "http://HOST:PORT"),
    ],
)
def test_the_origin_follows_from_a_valid_host_header(host, more, origin):
    assert url_of_request({"scheme": "http"}, (("host", host), *more)) == origin


@each_row(
    ("path", "expected"),
    [
        ("/llm/v1/messages", "/v1/messages"),  # of a proxy that keeps the path
        ("/v1/messages", "/v1/messages"),  # of one that removes it
        ("/llm", "/"),
        ("/llm/", "/"),
        ("/llm/llm/x", "/llm/x"),
        ("/llmx/v1", "/llmx/v1"),
        ("/v1/llm/x", "/v1/llm/x"),
        ("//llm/ui", "/ui"),
        # RFC 8414, section 3.1; RFC 9728, section 3.1
        ("/.well-known/oauth-authorization-server/llm", "/.well-known/oauth-authorization-server"),
        ("/.well-known/oauth-protected-resource/llm/mcp/a", "/.well-known/oauth-protected-resource/mcp/a"),
        ("/llm/.well-known/oauth-protected-resource/mcp/a", "/.well-known/oauth-protected-resource/mcp/a"),
    ],
)
def test_the_external_path_is_removed_where_a_proxy_kept_it(path, expected):
    scope = {"path": path, "raw_path": path.encode(), "scheme": "http"}
    make_url_adapter(read_external_url("https://host.example/llm/"))(scope)
    assert scope["path"] == expected
    assert url_of_request(scope, (("host", "127.0.0.1:1"),)) == "https://host.example/llm"


@each_row(
    ("public_url", "url", "path"),
    [
        ("https://h.example", "https://h.example", ""),
        ("https://h.example/v1/", "https://h.example", ""),
        ("https://h.example/a/b/v1", "https://h.example/a/b", "/a/b"),
        (None, "", ""),
    ],
)
def test_a_base_url_of_clients_is_the_gateways_url(public_url, url, path):
    found = read_external_url(public_url)
    assert (found.url, found.path) == (url, path)
