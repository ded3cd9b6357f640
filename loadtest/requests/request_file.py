"""Files of requests, JSONL or one JSON array. They are looked through before the load, line by line. Of each request is
kept where it begins: a large file stays on disk, so that a gigabyte takes none of this process's memory."""

import functools
import mmap
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs
import msgspec

from loadtest.plan.load_endpoints import LoadApi
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.traces import LineMistakes
from loadtest.requests.bodies import spoken_body
from loadtest.requests.file_requests import (
    EXPECTED,
    FileRequest,
    LeftOut,
    NoRequest,
    SpokenRequest,
    WholeBody,
    read_request,
    with_model,
)
from streams.errors import GatewayError
from streams.surrogates import NOT_JSON

SYNTHETIC: Final = "synthetic"
"""The name of the requests that are in the package."""

IN_MEMORY: Final = 2**24  # bytes of a file that is read whole; of a larger one the system keeps what is used

_BETWEEN: Final = re.compile(rb"[\s,]*")
_BLANK: Final = re.compile(rb"\s*")
_MARK: Final = b"\xef\xbb\xbf"  # of UTF-8, which some programs put first


@attrs.frozen(eq=False)
class RequestFile:
    """The requests of a file, each found by its place in it. ``forms`` counts them by what they are, and ``left_out``
    those that have nothing to send, by the reason."""

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
        """The request ``number``, from 0."""
        return read_request(self.data[self.starts[number] : self.ends[number]], self.api)

    def described(self) -> str:
        """What was found, for whoever starts the load."""
        found = ", ".join(f"{count:,} {form if count > 1 else _one(form)}" for form, count in self.forms.items())
        skipped = "".join(f"; {count:,} left out: {why}" for why, count in self.left_out.items())
        return f"{self.name}: {len(self):,} request{'s' * (len(self) != 1)} ({found}){skipped}"


def request_file(path: str, api: LoadApi) -> RequestFile:
    """The requests in the file ``path``, or those of the package. A body that more than one API could read is one of
    ``api``. Raises ``ConfigError`` with the lines that cannot be sent."""
    place = Path(__file__).with_name("synthetic.jsonl") if path == SYNTHETIC else Path(path)
    try:
        stamp = place.stat()
    except OSError as error:
        raise _unreadable(place, error) from None
    return _read(place, path if path == SYNTHETIC else place.name, api, stamp.st_mtime_ns, stamp.st_size)


def _unreadable(path: Path, error: OSError) -> Exception:
    reason = (error.strerror or "unreadable").lower()
    return LineMistakes(path).only(f"cannot be read: {reason}", "give a readable file")


@functools.lru_cache(maxsize=8)
def _read(path: Path, name: str, api: LoadApi, _changed: int, size: int) -> RequestFile:
    mistakes = LineMistakes(path)
    try:
        with path.open("rb") as file:
            large = size > IN_MEMORY
            data: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if large else file.read()
    except OSError as error:
        raise _unreadable(path, error) from None
    starts, ends = array("Q"), array("Q")
    forms: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for line, start, end in _pieces(data, mistakes):
        try:
            found = _checked(data[start:end], api)
        except NoRequest as error:
            mistakes.add(line, error.found, error.expected)
        except LeftOut as error:
            left_out[str(error)] += 1
        else:
            starts.append(start)
            ends.append(end)
            forms[_form(found)] += 1
    mistakes.check()
    if not starts:
        raise mistakes.only("no request in it", EXPECTED)
    return RequestFile(name, api, data, starts, ends, forms, left_out)


def _checked(line: bytes, api: LoadApi) -> FileRequest:
    """Return the request in a line that can be sent. Raises ``NoRequest`` and ``LeftOut``."""
    try:
        line.decode()  # the decoder of JSON does not look into texts that nobody reads yet
    except UnicodeDecodeError as error:
        raise NoRequest(f"this is not UTF-8 (byte {error.start + 1})", "save the file as UTF-8") from None
    found = read_request(line, api)
    match found:
        case WholeBody():
            with_model(found.body, "")
        case SpokenRequest() if api != "chat":
            try:
                spoken_body(LoadRequest("", api=api), found.messages, found.tools, 1)
            except GatewayError as error:
                raise NoRequest(error.failed.message, f"give what {api} can say too") from None
    return found


def _one(form: str) -> str:
    """In the singular."""
    return form.replace("bodies", "body").replace("talks", "talk").replace("prompts", "prompt")


def _form(found: FileRequest) -> str:
    match found:
        case WholeBody(api=api):
            return f"bodies of {api}"
        case SpokenRequest(said=(_, *_)):
            return "talks of several turns"
        case SpokenRequest(tools=(_, *_)):
            return "with tools"
    return "prompts"


def _pieces(data: mmap.mmap | bytes, mistakes: LineMistakes) -> Iterator[tuple[int, int, int]]:
    """The line (from 1), begin and end of each request."""
    begin = len(_MARK) if data[: len(_MARK)] == _MARK else 0
    first = _BLANK.match(data, begin)
    at = begin if first is None else first.end()
    return _elements(data, at, mistakes) if data[at : at + 1] == b"[" else _lines(data, begin)


def _lines(data: mmap.mmap | bytes, start: int) -> Iterator[tuple[int, int, int]]:
    line = 1
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if piece := data[start:end].strip():
            begin = data.find(piece, start)
            yield line, begin, begin + len(piece)
        line, start = line + 1, end + 1


def _elements(data: mmap.mmap | bytes, begin: int, mistakes: LineMistakes) -> Iterator[tuple[int, int, int]]:
    try:
        sizes = [len(element) for element in msgspec.json.decode(memoryview(data)[begin:], type=list[msgspec.Raw])]
    except NOT_JSON as error:
        mistakes.add(1, f"a JSON array that cannot be read: {str(error)[:80]}", "give JSON, or an object a line")
        return
    line, at = 1, 0
    for size in sizes:
        between = _BETWEEN.match(data, at or begin + 1)
        start = at if between is None else between.end()
        line += data[at:start].count(b"\n")
        yield line, start, start + size
        at = start + size
        line += data[start:at].count(b"\n")
