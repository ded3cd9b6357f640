"""A change with a cookie passes only from the gateway's own page (OWASP, "Cross-Site Request Forgery Prevention")."""

from gateway.features.people.own_pages import is_same_origin
from tests.support.each_row import each_row

OWN = "https://llm.example"

PERMITTED = {
    "own origin": {"origin": OWN},
    "own origin and site": {"origin": OWN, "sec-fetch-site": "same-origin"},
    "form of a page without referrer": {"origin": "null", "sec-fetch-site": "same-origin"},
    "site alone": {"sec-fetch-site": "same-origin"},
}
REFUSED = {
    "nothing": {},
    "referer alone": {"referer": f"{OWN}/ui"},
    "another origin": {"origin": "https://evil.example"},
    "another port": {"origin": "https://llm.example:8443"},
    "another scheme": {"origin": "http://llm.example"},
    "subdomain": {"origin": "https://a.llm.example", "sec-fetch-site": "same-site"},
    "prefix": {"origin": "https://llm.example.evil.example"},
    "opaque origin": {"origin": "null"},
    "opaque origin of another site": {"origin": "null", "sec-fetch-site": "cross-site"},
    "same site": {"sec-fetch-site": "same-site"},
    "typed address": {"sec-fetch-site": "none"},
    "own origin, other site": {"origin": OWN, "sec-fetch-site": "cross-site"},
    "other origin, own site": {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    "own origin with a path": {"origin": f"{OWN}/"},
}


@each_row("headers", PERMITTED.values(), ids=PERMITTED)
def test_own_pages_pass(headers):
    assert is_same_origin(tuple(headers.items()), OWN)


@each_row("headers", REFUSED.values(), ids=REFUSED)
def test_other_senders_are_refused(headers):
    assert not is_same_origin(tuple(headers.items()), OWN)


def test_repeated_headers_are_refused():
    assert not is_same_origin((("origin", OWN), ("origin", OWN)), OWN)
    assert not is_same_origin((("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")), OWN)
