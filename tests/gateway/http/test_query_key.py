"""Keys in the query of a request."""

from gateway.http.headers import may_hold_key, with_key_in_header

PATH = "/v1beta/models/m:generateContent"


def test_a_key_in_the_query_is_a_header_to_all_who_come_after():
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
