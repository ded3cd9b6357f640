import json

import pytest

from gateway.model_lists.pages import read_page


@pytest.mark.parametrize(
    ("body", "names", "more"),
    [
        ({"object": "list", "data": [{"id": "a", "object": "model", "created": 1}, {"id": "b"}]}, ("a", "b"), None),
        ({"data": [{"id": "a"}], "has_more": True, "last_id": "a"}, ("a",), ("after_id", "a")),
        ({"data": [{"id": "a"}], "has_more": False, "last_id": "a"}, ("a",), None),
        (
            {
                "models": [
                    {"name": "models/gemini-x", "supportedGenerationMethods": ["generateContent", "countTokens"]},
                    {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]},
                ],
                "nextPageToken": "t",
            },
            ("gemini-x",),
            ("pageToken", "t"),
        ),
        ([{"id": "org/a", "type": "chat"}, {"id": "org/b", "type": "image"}, {"id": "c", "name": "C"}],
         ("org/a", "c"), None),
        ({"data": [{"id": "a", "capabilities": {"completion_chat": False}}, {"id": "b", "capabilities": ["chat"]}]},
         ("b",), None),
        ({"data": [{"id": "x" * 1000}, {"id": ""}, {"id": "a*"}, {"id": "a\nb"}, {}]}, (), None),
    ],
)  # fmt: skip
def test_the_shapes_that_there_are(body, names, more):
    page = read_page(json.dumps(body).encode())
    assert (page.names, page.next) == (names, more)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"3", b'{"data": [{"id": 3}]}', b'{"data": 1}', b"[" * 9999])
def test_what_is_no_list_is_told_apart(body):
    with pytest.raises((ValueError, RecursionError)):
        read_page(body)
