"""A request to every relayed path that requires a model."""

import json
from typing import Any

from tests.support.relay_rows import ROUTES

MULTIPART = ("transcriptions", "translations", "image_edits", "image_variations")
NEEDED: dict[str, dict[str, Any]] = {
    "completions": {"prompt": "x"}, "fim": {"prompt": "x", "suffix": "y"}, "embeddings": {"input": "x", "texts": ["x"]},
    "rerank": {"query": "x", "documents": ["a"]}, "moderations": {"input": "x"}, "speech": {"input": "x", "voice": "y"},
    "image_generations": {"prompt": "x"},
}  # fmt: skip

ASKED = [
    (route.endpoint, route.path)
    for route in ROUTES
    if route.method == "POST" and "{" not in route.path and (route.endpoint in NEEDED or route.endpoint in MULTIPART)
]
"""The relayed paths with a model in the request, whose other members are known here."""


def body_of(endpoint: str, model: str) -> tuple[dict[str, str], bytes]:
    if endpoint not in MULTIPART:
        return {"content-type": "application/json"}, json.dumps({"model": model, **NEEDED[endpoint]}).encode()
    part = '--b\r\ncontent-disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    parts = part.format("model", model) + part.format('file"; filename="a.wav', "xyz") + "--b--\r\n"
    return {"content-type": "multipart/form-data; boundary=b"}, parts.encode()
