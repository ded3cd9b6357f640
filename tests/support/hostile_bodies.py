"""Hostile bodies of clients and answers of providers. Each has once blocked the event loop or the interpreter.

``bodies`` makes the bodies of one route from its ordinary request.
"""

import functools
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
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
    yield "many items", json_body({**base, main: _repeat(base.get(main), 30_000)})
    parts = _encoded_parts()
    text = json.dumps(base)
    others = json.dumps({name: value for name, value in base.items() if name != main})[:-1]
    for name, value in parts.values.items():
        yield name, HostileBody(b'%b,"%b":%b}' % (others.encode(), main.encode(), value), JSON)
    yield "many names", HostileBody(parts.names + text[1:].encode(), JSON)
    yield "references", HostileBody(text[:-1].encode() + parts.references, JSON)
    yield "white space", HostileBody(b"{" + b" \n" * 4 * MB + text[1:].encode(), JSON)
    yield "arrays", HostileBody(f'{{"more":[[]{",[]" * (3 * MB)}],{text[1:]}'.encode(), JSON)
    compressor = parts.compressor.copy()
    compressed = parts.compressed + compressor.compress(text[1:].encode()) + compressor.flush()
    yield "compressed", HostileBody(compressed, {**JSON, "content-encoding": "gzip"})


JSON: Final = {"content-type": "application/json"}


def json_body(value: Any) -> HostileBody:
    return HostileBody(_encode(value), JSON)


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _repeat(value: Any, times: int) -> Any:
    if isinstance(value, list) and value:
        return value * times
    return [value] * times


@attrs.frozen
class EncodedParts:
    """The parts of bodies that are the same for every route, as JSON."""

    values: Mapping[str, bytes]
    """Values of a request's largest member, by their names."""
    names: bytes
    """The start of an object with many members."""
    references: bytes
    """The end of an object: tools and a format whose schemas refer to many others."""
    compressed: bytes
    """The start of an object with a long text, as ``compressor`` has compressed it with gzip."""
    compressor: Any


@functools.cache
def _encoded_parts() -> EncodedParts:
    values = {
        "a long text": "x" * 12 * MB,
        "a long text of escapes": "é\n" * MB,
        "a long item": ["word " * 2 * MB],
        "objects": [{}] * 150_000,
        "depth": _nested_value(400),
    }
    names = _encode({f"name{number}": 1 for number in range(50_000)})
    references = _encode({"tools": _referring_tools(), "response_format": _referring_format()})
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)  # gzip
    compressed = compressor.compress(b'{"more":"' + b"x" * 48 * MB + b'",')
    encoded = {name: _encode(value) for name, value in values.items()}
    return EncodedParts(encoded, names[:-1] + b",", b"," + references[1:], compressed, compressor)


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


@functools.cache
def forms(model: str) -> Mapping[str, HostileBody]:
    """Return each hostile form of an upload by its name."""
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
    return {
        **{name: form(head, purpose, (file + '"', data)) for name, data in files.items()},
        "many parts": form(head, purpose, *[('p"', b"")] * 5000),
        "a long head": HostileBody(f"--{BOUNDARY}\r\n".encode() + b"a" * 4 * MB, FORM),
    }


# Answers of providers


EVENTS: Final = "text/event-stream"


@attrs.frozen
class HostileAnswer:
    """A provider's answer."""

    data: bytes
    content_type: str = "application/json"
    coding: str = ""


@functools.cache
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
        "line ends": HostileAnswer(b"\r" * MB, EVENTS),
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
