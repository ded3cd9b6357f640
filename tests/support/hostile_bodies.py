"""Hostile bodies of clients and answers of providers: each took the loop, or the interpreter, for a long time once.

``bodies`` makes the bodies of one route from its ordinary request.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

MB: Final = 2**20


@attrs.frozen
class HostileBody:
    """A request's body with its headers."""

    data: bytes
    headers: Mapping[str, str]


def bodies(base: Mapping[str, Any], main: str) -> Iterator[tuple[str, HostileBody]]:
    """Yield each hostile body by its name. ``base`` is an ordinary request, ``main`` its largest member."""
    for name, make in _VALUES.items():
        yield name, json_body({**base, main: make(base.get(main))})
    names = {f"name{number}": 1 for number in range(50_000)}
    yield "many names", json_body({**names, **base})
    yield "references", json_body({**base, "tools": _referring_tools(), "response_format": _referring_format()})
    text = json.dumps(base)
    yield "white space", HostileBody(b"{" + b" \n" * 4 * MB + text[1:].encode(), JSON)
    yield "arrays", HostileBody(f'{{"more":[[]{",[]" * (3 * MB)}],{text[1:]}'.encode(), JSON)
    compressed = gzip.compress(f'{{"more":"{"x" * (48 * MB)}",{text[1:]}'.encode())
    yield "compressed", HostileBody(compressed, {**JSON, "content-encoding": "gzip"})


JSON: Final = {"content-type": "application/json"}


def json_body(value: Any) -> HostileBody:
    return HostileBody(json.dumps(value, separators=(",", ":")).encode(), JSON)


def _repeat(value: Any, times: int) -> Any:
    if isinstance(value, list) and value:
        return value * times
    return [value] * times


_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "many items": lambda value: _repeat(value, 30_000),
    "a long text": lambda value: "x" * 12 * MB,
    "a long text of escapes": lambda value: "é\n" * MB,
    "a long item": lambda value: ["word " * 2 * MB],
    "objects": lambda value: [{}] * 150_000,
    "depth": lambda value: _nested_value(400),
}
"""Functions that return another value for a request's largest member."""


def _nested_value(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": [value]}
    return value


def _referring_schema() -> dict[str, Any]:
    names = [f"d{number}" for number in range(4000)]
    chain = {name: {"$ref": f"#/$defs/d{at + 1}", f"x{at}": 1} for at, name in enumerate(names)}
    properties = {name: {"allOf": [{"$ref": f"#/$defs/{name}"}]} for name in names}
    return {"type": "object", "properties": properties, "$defs": chain, "allOf": [{"$ref": "#/$defs/d0"}]}


def _referring_tools() -> list[dict[str, Any]]:
    schema = _referring_schema()
    function = {"name": "f", "parameters": schema}
    return [{"type": "function", "function": function, "name": "f", "parameters": schema, "input_schema": schema,
             "functionDeclarations": [{"name": "f", "parameters": schema}]}]  # fmt: skip


def _referring_format() -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "f", "schema": _referring_schema()}}


# Forms


BOUNDARY: Final = "boundary"
FORM: Final = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*parts: tuple[str, bytes]) -> HostileBody:
    """Return a form; a part's name may continue with other parameters."""
    lines = [
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in parts
    ]
    return HostileBody(b"".join(lines) + f"--{BOUNDARY}--\r\n".encode(), FORM)


def forms(model: str) -> Iterator[tuple[str, HostileBody]]:
    """Yield each hostile form of an upload by its name."""
    head, file = ('model"', model.encode()), 'file"; filename="a.jsonl'
    purpose = ('purpose"', b"batch")
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": model}}
    long = json.dumps({**line, "body": {"messages": [{"role": "user", "content": "x" * 15 * MB}], "model": model}})
    arrays = json.dumps({**line, "body": {"model": model, "more": [[]] * 60_000}})
    short = b"".join(json.dumps({**line, "custom_id": str(at)}).encode() + b"\n" for at in range(20_000))
    files = {
        "a long line": long.encode(),
        "arrays in a line": arrays.encode(),
        "many lines": short,
        "empty lines": b"\n" * 4 * MB,
        "boundaries": f"\r\n--{BOUNDARY[:-1]}".encode() * 300_000,
    }
    for name, data in files.items():
        yield name, form(head, purpose, (file + '"', data))
    yield "many parts", form(head, purpose, *[('p"', b"")] * 5000)
    yield "a long head", HostileBody(f"--{BOUNDARY}\r\n".encode() + b"a" * 4 * MB, FORM)


# Answers of providers


EVENTS: Final = "text/event-stream"


@attrs.frozen
class HostileAnswer:
    """A provider's answer."""

    data: bytes
    content_type: str = "application/json"
    coding: str = ""


def answers() -> Mapping[str, HostileAnswer]:
    """Return each hostile answer by its name."""
    result = {"custom_id": "a", "response": {"status_code": 200, "body": {"model": "m", "usage": {"input_tokens": 1}}}}
    long = json.dumps({**result, "more": "x" * 12 * MB}).encode()
    line = json.dumps(result).encode() + b"\n"
    message = {"role": "assistant", "content": "word\n" * 6 * MB}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return {
        "a long answer": HostileAnswer(json.dumps(answer).encode()),
        "comment lines in an event": HostileAnswer(b":\n" * 4 * MB + b"\n", EVENTS),
        "comments": HostileAnswer(b":\n\n" * (MB // 4), EVENTS),
        "line ends": HostileAnswer(b"\r" * 2 * MB, EVENTS),
        "small events": HostileAnswer(b"data: {}\n\n" * 50_000, EVENTS),
        "a long event": HostileAnswer(b'data: {"a":"' + b"x" * 12 * MB + b'"}\n\n', EVENTS),
        "arrays": HostileAnswer(b'{"data":[[]' + b",[]" * 3 * MB + b"]}"),
        "objects": HostileAnswer(b'{"id":"a","data":[{}' + b",{}" * 60_000 + b"]}"),
        "a long text": HostileAnswer(b'{"id":"a","more":"' + b"x" * 12 * MB + b'"}'),
        "a long line": HostileAnswer(long + b"\n" + long, "application/x-ndjson"),
        "lines": HostileAnswer(line * 20_000, "application/x-ndjson"),
        "empty objects": HostileAnswer(b"{}\n" * 200_000, "application/x-ndjson"),
        "compressed comments": HostileAnswer(gzip.compress(b":\n\n" * (MB // 4)), EVENTS, "gzip"),
    }
