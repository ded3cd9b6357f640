"""Reads files of requests: JSONL or one JSON array of API bodies, prompts, messages, or ShareGPT conversations.

A file is validated before the load, line by line. Only the positions of the requests stay in memory, so a file of a
gigabyte is no problem.
"""

import functools
import mmap
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from configfile.wording import Wrong, describe
from loadtest.exchange.plain_text import plain_text
from loadtest.plan.load_endpoints import LOAD_ENDPOINTS, TOKEN_LIMITS, LoadApi
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.traces import LineMistakes
from loadtest.requests.bodies import chat_like_body
from loadtest.requests.made_requests import TOKENS
from providers.apis import CODECS
from streams.errors import GatewayError
from streams.surrogates import NOT_JSON, any_json, describe_json_error

Members: TypeAlias = Mapping[str, msgspec.Raw]
Object: TypeAlias = dict[str, Any]


class NothingToSend(ValueError):
    """A valid line without anything to send. The text is the reason, the same for all such lines."""


@attrs.frozen
class WholeBody:
    """A body that is sent unchanged except for its model. ``output`` is its token limit."""

    api: LoadApi
    body: bytes
    stream: bool | None = None  # if None, the path determines it
    usage: bool = True
    output: int | None = None


@attrs.frozen
class MessagesRequest:
    """A request in Chat's format; the kind of request determines the rest of its body.

    ``later_texts`` are the texts of later turns.
    """

    messages: tuple[Object, ...]
    tools: tuple[Object, ...] = ()
    output: int | None = None
    later_texts: tuple[str, ...] = ()


FileRequest: TypeAlias = WholeBody | MessagesRequest

EXPECTED: Final = (
    'give a body of an API, {"prompt": …, "output_tokens": …}, {"messages": […]} or '
    '{"conversations": [{"from": …, "value": …}]}'
)


def read_request(line: bytes, api: LoadApi) -> FileRequest:
    """Parse the request in ``line``.

    If several APIs could read the body, ``api`` counts. Raises ``Wrong`` and ``NothingToSend``.
    """
    try:
        members: Members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise Wrong("this is not a JSON object", EXPECTED) from None
    except NOT_JSON as error:
        raise Wrong(f"this is not JSON ({describe_json_error(error)})", EXPECTED) from None
    read = next((read for name, read in _READERS.items() if _has_format(members, name)), None)
    if read is None and api in LOAD_ENDPOINTS:
        return WholeBody(api, line, bytes(members.get("stream", b"")) == b"true", True, token_limit_of(members, api))
    return read(members) if read else _read_body(line, members, api)


# Formats without an API

_SETTINGS: Final = frozenset(
    ("model", "stream", "max_tokens", "max_completion_tokens", "system", "temperature", "input")
)
"""Members that only occur in API bodies: an object with one of them and ``messages`` or ``prompt`` is a body."""
MOST_OUTPUT: Final = 2**31  # tokens; higher values mean no limit
_BODIES_ALONE: Final = frozenset(("inferenceConfig", "toolConfig", "additionalModelRequestFields", "contents"))


def _has_format(members: Members, name: str) -> bool:
    return name in members and (name == "conversations" or not (_SETTINGS | _BODIES_ALONE) & members.keys())


def _read_prompt(members: Members) -> MessagesRequest:
    text = _decode_value(members["prompt"])
    if not isinstance(text, str):
        raise Wrong(f"prompt: {describe(text)}", "expected text")
    if not text:
        raise NothingToSend("the prompt has no text")
    return MessagesRequest(({"role": "user", "content": text},), output=_token_limit(members))


def _read_messages(members: Members) -> MessagesRequest:
    messages = _decode_objects("messages", members["messages"])
    if not messages:
        raise NothingToSend("there is no message")
    tools = _decode_objects("tools", members["tools"]) if "tools" in members else ()
    try:
        CODECS["chat"].read_request({"model": "", "messages": [*messages], **({"tools": [*tools]} if tools else {})})
    except GatewayError as error:
        raise Wrong(error.info.message, "messages and tools must have the form of Chat Completions") from None
    return MessagesRequest(messages, tools, _token_limit(members))


_PEOPLE: Final = frozenset(("human", "user"))
_MODELS: Final = frozenset(("gpt", "assistant", "chatgpt", "bard", "bing", "model"))


def _read_sharegpt(members: Members) -> MessagesRequest:
    """Read a ShareGPT conversation: the texts of the person, and the length of the first answer, at 4 characters a
    token."""
    turns = [_read_turn(turn) for turn in _decode_objects("conversations", members["conversations"])]
    system = [text for who, text in turns if who == "system" and text]
    said = [text for who, text in turns if who in _PEOPLE and text]
    if not said:
        raise NothingToSend("the conversation has no text of a user")
    answers = [text for who, text in turns if who in _MODELS and text]
    first = [{"role": "system", "content": text} for text in system[:1]] + [{"role": "user", "content": said[0]}]
    output = _token_limit(members) or (max(1, len(answers[0]) // TOKENS) if answers else None)
    return MessagesRequest(tuple(first), output=output, later_texts=tuple(said[1:]))


def _read_turn(turn: Object) -> tuple[str, str]:
    """Return the speaker and the text of a turn: ``from`` and ``value``, or ``role`` and ``content``."""
    who, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if not isinstance(who, str) or not isinstance(text, str):
        raise Wrong("each turn in conversations needs from and value", EXPECTED)
    return who.lower(), text


_READERS: Final[Mapping[str, Callable[[Members], MessagesRequest]]] = {
    "conversations": _read_sharegpt,
    "messages": _read_messages,
    "prompt": _read_prompt,
}


def _decode_value(raw: msgspec.Raw) -> Any:
    return any_json(bytes(raw))


def _decode_objects(name: str, raw: msgspec.Raw) -> tuple[Object, ...]:
    value = _decode_value(raw)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Wrong(f"{name}: {describe(value)}", "expected a list of objects")
    return tuple(value)


def _token_limit(members: Members) -> int | None:
    if "output_tokens" not in members:
        return None
    value = _decode_value(members["output_tokens"])
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_OUTPUT:
        return value
    raise Wrong(f"output_tokens: {describe(value)}", "expected a whole number, 1 or more")


# Bodies

_INTERACTIONS: Final = frozenset(("generation_config", "system_instruction", "previous_interaction_id"))
_BLOCKS: Final = re.compile(rb'"type"\s*:\s*"(?:tool_use|tool_result|thinking|document)"|"input_schema"\s*:')
_PARTS: Final = re.compile(rb'"role"\s*:\s*"(?:tool|system|developer)"|"type"\s*:\s*"(?:function|image_url)"')
_UNTYPED: Final = re.compile(rb'"content"\s*:\s*\[\s*\{\s*"(?:text|toolUse|toolResult|image|document)"\s*:')


def _read_body(line: bytes, members: Members, api: LoadApi) -> WholeBody:
    able = _possible_apis(line, members)
    if not able:
        raise Wrong(_unknown_members_error(members), EXPECTED)
    spoken = api if api in able else able[0]
    wire = CODECS[spoken].wire
    stream = None if wire.stream_member is None else bytes(members.get(wire.stream_member, b"")) == b"true"
    options = _decode_value(members["stream_options"]) if "stream_options" in members else None
    usage = spoken != "chat" or (isinstance(options, dict) and options.get("include_usage") is True)
    return WholeBody(spoken, line, stream, usage, token_limit_of(members, spoken))


def _possible_apis(line: bytes, members: Members) -> tuple[LoadApi, ...]:
    """Return the APIs that could read the body, the most likely first."""
    if "contents" in members:
        return ("gemini",)
    if "messages" not in members:
        if members.keys() & _INTERACTIONS:
            return ("interactions",)
        return ("responses", "interactions") if "input" in members else ()
    if members.keys() & {"inferenceConfig", "toolConfig"} or _UNTYPED.search(line):
        return ("converse",)
    if "system" in members or _BLOCKS.search(line):
        return ("messages",)
    if _PARTS.search(line) or "max_tokens" not in members:
        return ("chat",)
    return ("chat", "messages")


def _unknown_members_error(members: Members) -> str:
    if "prompt" in members:
        return "a body of the old Completions API"
    return plain_text(f"an object with {', '.join(members)}", 120) if members else "an empty object"


def token_limit_of(members: Members, api: LoadApi) -> int | None:
    """Return the token limit of a body, or ``None``."""
    for path in TOKEN_LIMITS.get(api, ("max_tokens",)):
        outer, _, inner = path.partition(".")
        value = _decode_value(members[outer]) if outer in members else None
        found = value.get(inner) if inner and isinstance(value, dict) else value
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MOST_OUTPUT:
            return found
    return None


# The requests to send

_MEMBER: Final = re.compile(rb'[\s,]*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)


def with_model(body: bytes, model: str) -> bytes:
    """Return ``body`` with another ``model``, otherwise unchanged. Raises ``Wrong`` if a member is repeated."""
    members: Members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    name = msgspec.json.encode(model)
    start = body.index(b"{") + 1
    if "model" not in members:
        return b"".join((body[:start], b'"model":', name, b"," if members else b"", body[start:]))
    at = start
    for key, value in members.items():
        found = _MEMBER.match(body, at)
        if found is None or msgspec.json.decode(found[1]) != key or not body.startswith(bytes(value), found.end()):
            raise Wrong("a member appears twice", "remove one: servers differ in which one they use")
        at = found.end() + len(value)
        if key == "model":
            return body[: found.end()] + name + body[at:]
    raise AssertionError


def with_settings_of(request: LoadRequest, found: WholeBody) -> LoadRequest:
    """Return ``request`` with the API and the stream settings of ``found``."""
    stream = request.stream if found.stream is None else found.stream
    return attrs.evolve(request, api=found.api, stream=stream, usage=found.usage)


SYNTHETIC: Final = "synthetic"
"""The name of the built-in requests."""

IN_MEMORY: Final = 2**24  # bytes; larger files are mapped into memory

_BETWEEN: Final = re.compile(rb"[\s,]*")
_BLANK: Final = re.compile(rb"\s*")
_MARK: Final = b"\xef\xbb\xbf"  # of UTF-8, which some programs write


@attrs.frozen(eq=False)
class RequestFile:
    """The requests in a file by their positions.

    ``forms`` counts them by format, ``left_out`` counts skipped lines by reason.
    """

    name: str
    api: LoadApi
    data: mmap.mmap | bytes = attrs.field(repr=False)
    starts: "array[int]" = attrs.field(repr=False)
    ends: "array[int]" = attrs.field(repr=False)
    forms: Mapping[str, int] = attrs.field(factory=dict)
    left_out: Mapping[str, int] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.starts)

    def request(self, number: int) -> FileRequest:
        """Return the request ``number``, from 0."""
        return read_request(self.data[self.starts[number] : self.ends[number]], self.api)

    def describe(self) -> str:
        """Return a summary for the user."""
        found = ", ".join(f"{count:,} {form if count > 1 else _singular(form)}" for form, count in self.forms.items())
        skipped = "".join(f"; {count:,} skipped: {why}" for why, count in self.left_out.items())
        return f"{self.name}: {len(self):,} request{'s' * (len(self) != 1)} ({found}){skipped}"


def request_file(path: str, api: LoadApi) -> RequestFile:
    """Return the requests in the file ``path``, or the built-in ones.

    If several APIs could read a body, ``api`` counts. Raises ``ConfigError`` with the invalid lines.
    """
    place = Path(__file__).with_name("synthetic.jsonl") if path == SYNTHETIC else Path(path)
    try:
        stamp = place.stat()
    except OSError as error:
        raise _unreadable_error(place, error) from None
    return _read_file(place, path if path == SYNTHETIC else place.name, api, stamp.st_mtime_ns, stamp.st_size)


def _unreadable_error(path: Path, error: OSError) -> Exception:
    reason = (error.strerror or "unreadable").lower()
    return LineMistakes(path).file_error(f"cannot be read: {reason}", "give a readable file")


@functools.lru_cache(maxsize=8)
def _read_file(path: Path, name: str, api: LoadApi, _changed: int, size: int) -> RequestFile:
    mistakes = LineMistakes(path)
    try:
        with path.open("rb") as file:
            large = size > IN_MEMORY
            data: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if large else file.read()
    except OSError as error:
        raise _unreadable_error(path, error) from None
    starts, ends = array("Q"), array("Q")
    forms: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for line, start, end in _request_ranges(data, mistakes):
        try:
            found = _validate(data[start:end], api)
        except Wrong as error:
            mistakes.add(line, error.found, error.expected)
        except NothingToSend as error:
            left_out[str(error)] += 1
        else:
            starts.append(start)
            ends.append(end)
            forms[_format_of(found)] += 1
    mistakes.raise_if_any()
    if not starts:
        raise mistakes.file_error("the file has no requests", EXPECTED)
    return RequestFile(name, api, data, starts, ends, forms, left_out)


def _validate(line: bytes, api: LoadApi) -> FileRequest:
    """Return the request in a line that can be sent. Raises ``Wrong`` and ``NothingToSend``."""
    try:
        line.decode()  # the JSON decoder does not validate texts that are not decoded
    except UnicodeDecodeError as error:
        raise Wrong(f"this is not UTF-8 (byte {error.start + 1})", "save the file as UTF-8") from None
    found = read_request(line, api)
    match found:
        case WholeBody():
            with_model(found.body, "")
        case MessagesRequest() if api != "chat":
            try:
                chat_like_body(LoadRequest("", api=api), found.messages, found.tools, 1)
            except GatewayError as error:
                raise Wrong(error.info.message, f"use only features that {api} supports") from None
    return found


def _singular(form: str) -> str:
    """Return the singular of a format."""
    return form.replace("bodies", "body").replace("talks", "talk").replace("prompts", "prompt")


def _format_of(found: FileRequest) -> str:
    match found:
        case WholeBody(api=api):
            return f"bodies of {api}"
        case MessagesRequest(later_texts=(_, *_)):
            return "talks of several turns"
        case MessagesRequest(tools=(_, *_)):
            return "with tools"
    return "prompts"


def _request_ranges(data: mmap.mmap | bytes, mistakes: LineMistakes) -> Iterator[tuple[int, int, int]]:
    """Return the line (from 1), begin and end of each request."""
    begin = len(_MARK) if data[: len(_MARK)] == _MARK else 0
    first = _BLANK.match(data, begin)
    at = begin if first is None else first.end()
    return _element_ranges(data, at, mistakes) if data[at : at + 1] == b"[" else _line_ranges(data, begin)


def _line_ranges(data: mmap.mmap | bytes, start: int) -> Iterator[tuple[int, int, int]]:
    line = 1
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if piece := data[start:end].strip():
            begin = data.find(piece, start)
            yield line, begin, begin + len(piece)
        line, start = line + 1, end + 1


def _element_ranges(data: mmap.mmap | bytes, begin: int, mistakes: LineMistakes) -> Iterator[tuple[int, int, int]]:
    try:
        sizes = [len(element) for element in msgspec.json.decode(memoryview(data)[begin:], type=list[msgspec.Raw])]
    except NOT_JSON as error:
        mistakes.add(
            1, f"the JSON array is not valid: {describe_json_error(error)}", "give JSON, or one object per line"
        )
        return
    line, at = 1, 0
    for size in sizes:
        between = _BETWEEN.match(data, at or begin + 1)
        start = at if between is None else between.end()
        line += data[at:start].count(b"\n")
        yield line, start, start + size
        at = start + size
        line += data[start:at].count(b"\n")
