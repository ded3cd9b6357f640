"""Text in pages is escaped, wherever it comes from."""

from gateway.endpoints.html import Html, html, html_page, redirect

HOSTILE = "</title><script>alert(1)</script>\"'&"


def test_values_are_escaped_and_html_is_not():
    inner = html("<b>{text}</b>", text=HOSTILE)
    assert html('<p title="{text}">{inner}</p>', text=HOSTILE, inner=inner).count("<script") == 0
    assert "<b>&lt;/title&gt;" in html("{inner}", inner=inner)
    assert isinstance(inner, Html)


def test_a_page_cannot_be_framed_cached_or_named_in_a_referer():
    for response in (html_page(HOSTILE, Html("<p>x</p>"), HOSTILE), redirect("/ui")):
        headers = dict(response.headers)
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert headers["x-frame-options"] == "DENY"
        assert b"<script" not in response.body
