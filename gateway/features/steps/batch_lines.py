"""The check of batches by steps: requests in files and bodies before they are sent, and results before the client gets
them.

Steps see a request of a batch as a single request of its API. Masked text stays masked in the results, because the
original text is not stored for the hours that a batch takes."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import attrs
import msgspec
import trio

from gateway.endpoints.inference import ROUTES
from gateway.exchange.exchange import Exchange
from gateway.features.steps.conversations import SessionChecks, begin_session
from gateway.features.steps.json_texts import NotJson
from gateway.features.steps.loaded import LoadedStep
from gateway.features.steps.request_texts import MOST_TEXTS, RequestTexts
from gateway.features.steps.sessions import admit_endpoint, steps_of
from gateway.features.steps.shapes import ECHO
from gateway.features.steps.tables import table_for
from gateway.features.steps.transforms import StepTransform
from gateway.features.steps.verdicts import RefusedByStep, unchecked_content
from gateway.http.offload import offload
from gateway.http.paths import canonical
from gateway.request.parse import Incoming
from gateway.request.routing_options import read_headers
from gateway.shared.owned_entries import OwnedEntries
from providers.endpoints.batch_lines import MAX_LINE
from providers.endpoints.endpoint import ENDPOINTS
from streams.errors import GatewayError, invalid
from streams.surrogates import NOT_JSON, any_json, decode_or


def line_texts(line: bytes) -> RequestTexts:
    """Return the texts of one request in a batch file. Raises ``NotJson``."""
    return RequestTexts.of("batch_line", line, most=MOST_TEXTS)


def result_texts(line: bytes) -> RequestTexts:
    """Return the texts of one result. Raises ``NotJson``."""
    return RequestTexts.of("batch_result", line)


def member_texts(endpoint: str, body: bytes) -> RequestTexts:
    """Return the texts of a new batch besides those of its requests. Raises ``NotJson``."""
    table = table_for(endpoint)
    shape = attrs.evolve(table.shape, members={**(table.shape.members or {}), "requests": ECHO})
    return RequestTexts(attrs.evolve(table, shape=shape), body)


def refused_line(line: bytes, error: GatewayError) -> bytes:
    """Return ``line``, a result, as the line of a failed request with the message of ``error``."""
    info = error.info
    value: Any = decode_or(any_json, line, {})
    kept = {name: value[name] for name in ("id", "custom_id", "key") if isinstance(value, dict) and name in value}
    failure: dict[str, Any]
    if "key" in kept:
        failure = {"error": {"code": info.status, "message": info.message, "status": "INVALID_ARGUMENT"}}
    elif isinstance(value, dict) and "result" in value:
        inner = {"type": "invalid_request_error", "code": info.code, "message": info.message}
        failure = {"result": {"type": "errored", "error": {"type": "error", "error": inner}}}
    else:
        failure = {"response": None, "error": {"code": info.code, "message": info.message}}
    return msgspec.json.encode({**kept, **failure})


_ENDPOINTS: Final = {path: name for name, row in ENDPOINTS.items() for path in row.paths}
_RESULTS: Final = {"chat.completion": "chat", "response": "responses", "message": "messages"}
"""The API of a result, by the kind of its response."""

MAX_FILES: Final = 10_000

_checked_files: Final[OwnedEntries[str, str, frozenset[str]]] = OwnedEntries(MAX_FILES)
"""The names of the steps that checked a client's batch file, for batches without state storage."""


class LineChecks:
    """The steps for the requests and results of one exchange about batches, by their API and model."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._sessions: dict[tuple[str, str | None], SessionChecks | None] = {}
        self.names = frozenset(steps_of(exchange.context.service).by_name)
        """The names of all configured steps, which have checked the requests that they apply to."""

    async def check_request(self, line: bytes, at: str, endpoint: str = "", model: str | None = None) -> bytes:
        """Return ``line``, a request, with its masks. ``at`` is its position for errors, ``endpoint`` and ``model`` are
        those of its batch. Raises ``GatewayError``.

        The decoder refuses some lines that a provider may read, such as one with a large number. All steps check
        these."""
        url, own = _endpoint_and_model(await offload(len(line), decode_or, any_json, line, None))
        try:
            return await self._check_body(_api_of(url) or endpoint, own or model, line_texts, line)
        except NotJson:
            raise invalid(f"{at} is not a JSON object") from None
        except GatewayError as error:
            raise _with_position(error, at) from None

    async def check_new(self, body: bytes, endpoint: str) -> bytes:
        """Return ``body``, a new batch for ``endpoint`` or the body of a request about one, with its masks. Raises
        ``GatewayError``."""
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        path, model = _text(members, "endpoint"), _text(members, "model") or _text(members, "model_id")
        if bytes(members.get("requests", b"null")) != b"null":
            try:
                listed = msgspec.json.decode(members["requests"], type=list[msgspec.Raw])
            except NOT_JSON:
                raise invalid("requests must be a list of requests", "requests") from None
            for at, one in enumerate(listed):
                listed[at] = msgspec.Raw(await self.check_request(bytes(one), f"requests[{at}]", _api_of(path), model))
                if at % TURN == TURN - 1:
                    await trio.lowlevel.checkpoint()
            members["requests"] = msgspec.Raw(msgspec.json.encode(listed))
            body = msgspec.json.encode(members)
        return await self._check_body(endpoint, None, partial(member_texts, endpoint), body)

    async def _check_body(
        self, endpoint: str, model: str | None, read: Callable[[bytes], RequestTexts], body: bytes
    ) -> bytes:
        """Return ``body``, whose texts ``read`` returns, with the masks of the steps for requests of ``endpoint``."""
        session = self._session(endpoint, model)
        if session is None:
            return body
        steps = [step for step in session.steps if step.at("request") or step.at("during")]
        return (await session.check_texts(steps, await offload(len(body), read, body))).body

    def request_lines(self) -> "LineBuffer":
        """Return the transform of a file with requests, whose lines steps check one by one."""
        return LineBuffer(lambda line, number: self.check_request(line, f"line {number} of the file"))

    def result_lines(self) -> "LineBuffer":
        """Return the transform of a response with results, whose lines steps check one by one."""
        return LineBuffer(lambda line, number: self.check_result(line))

    async def check_result(self, line: bytes) -> bytes:
        """Return ``line``, a result, with its masks, or an error in its place if a step refuses it.

        Raises ``GatewayError`` for a line that no step can read."""
        if not line.strip():
            return line
        try:
            kind = _kind_of(await offload(len(line), any_json, line))
            session = self._session(_RESULTS.get(kind, ""), None)
            if session is None:
                return line
            texts = await offload(len(line), result_texts, line)
        except (*NOT_JSON, NotJson):
            for step in self._refusing:
                if step.at("response"):
                    raise unchecked_content(step.name, "the lines of this file") from None
            return line
        steps = [step for step in session.steps if step.at("response")]
        try:
            return (await session.check_texts(steps, texts, "response")).body
        except RefusedByStep as refused:
            return refused_line(line, refused)

    def note_file(self, owner: str, file: str) -> None:
        """Note that the steps have checked the requests in ``file``."""
        _checked_files.put(owner, file, self.names)

    def names_of(self, owner: str, file: str) -> frozenset[str]:
        """Return the names of the steps that have checked ``file`` in this process."""
        return _checked_files.get(owner, file) or frozenset()

    def refuse_file(self) -> None:
        """Raise ``GatewayError`` (403) if a step must check files that are for no batch."""
        admit_endpoint(self._exchange.context, "files")

    @property
    def required_names(self) -> Sequence[str]:
        """The names of the steps that must check the file of a new batch."""
        return [one.name for one in self._refusing if one.at("request") or one.at("during")]

    @property
    def _refusing(self) -> Sequence[LoadedStep]:
        """The steps that may apply, and refuse content that they cannot check."""
        session = self._session("", None)
        return [] if session is None else [step for step in session.steps if step.refuses_unchecked]

    def require_checked(self, names: frozenset[str]) -> None:
        """Raise ``GatewayError`` (403) if a step had to check a batch's file, and only those in ``names`` did."""
        if missing := [name for name in self.required_names if name not in names]:
            raise unchecked_content(missing[0], "input_file_id")

    def use_for_response(self) -> None:
        """Let the steps check the response as one text, and not line by line."""
        if (session := self._session("", None)) is not None:
            session.start_concurrent_steps(line_texts(b"{}"))
            self._exchange.use_checks(session, None)

    def _session(self, endpoint: str, model: str | None) -> SessionChecks | None:
        """Return the steps for requests of ``endpoint``; every step that may apply if that is unknown."""
        key = endpoint, model
        if key not in self._sessions:
            context, scope = self._exchange.context, self._exchange.scope
            incoming = Incoming(context.codec.api, b"", {}, model, False)
            words = read_headers(context.client_request).steps
            self._sessions[key] = begin_session(context, scope, endpoint, incoming, words)
        return self._sessions[key]


async def batch_checks(exchange: Exchange) -> LineChecks:
    """Return the steps for the requests and results of ``exchange``."""
    return LineChecks(exchange)


def _with_position(error: GatewayError, at: str) -> GatewayError:
    info = attrs.evolve(error.info, message=f"{at}: {error.info.message}")
    return RefusedByStep(info, error.step) if isinstance(error, RefusedByStep) else GatewayError.of(info)


def _endpoint_and_model(value: Any) -> tuple[str | None, str | None]:
    """Return the path and the model of a request in a batch."""
    if not isinstance(value, dict):
        return None, None
    url, fields = value.get("url"), value.get("body", value.get("params"))
    model = fields.get("model") if isinstance(fields, dict) else None
    url = "/v1/messages" if "params" in value and url is None else url
    return url if isinstance(url, str) else None, model if isinstance(model, str) else None


def _api_of(url: str | None) -> str:
    """Return the API or endpoint at ``url``; Azure's clients leave out ``/v1``."""
    path = "" if url is None else canonical(url)
    return ROUTES.get(path) or _ENDPOINTS.get(path) or ""


def _kind_of(value: Any) -> str:
    """Return the kind of the response in a result, "" if it is unknown."""
    for outer, inner in (("response", "body"), ("result", "message")):
        answer = value.get(outer) if isinstance(value, dict) else None
        found = answer.get(inner) if isinstance(answer, dict) else None
        if isinstance(found, dict):
            kind = found.get("object", found.get("type"))
            return kind if isinstance(kind, str) else ""
    return ""


TURN: Final = 32
"""Lines in a turn of the event loop. Checking one takes about 0.1 ms."""


class LineBuffer(StepTransform):
    """A buffer that passes on whole lines, each after ``check``: a ``Transform``."""

    has_changed = True

    def __init__(self, check: Callable[[bytes, int], Awaitable[bytes]]) -> None:
        super().__init__()
        self._check = check
        self._held: list[bytes] = []
        self._size = 0
        self._count = 0
        self._all = 0  # blank lines included

    async def feed(self, data: bytes) -> bytes:
        """Return the lines that ``data`` completes. Raises ``GatewayError``."""
        *whole, rest = data.split(b"\n")
        out = []
        for piece in whole:
            self._hold(piece)
            out.append(await self.end() + b"\n")
        self._hold(rest)
        return b"".join(out)

    async def end(self) -> bytes:
        """Return the last line. Raises ``GatewayError``."""
        line, self._held, self._size = b"".join(self._held), [], 0
        self._all += 1
        if self._all % TURN == 0:
            await trio.lowlevel.checkpoint()
        if not line.strip():
            return line
        self._count += 1
        return await self._check(line, self._count)

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_LINE:
            raise invalid(f"line {self._count + 1} of the file is longer than {MAX_LINE} bytes", "file")
        self._held.append(piece)


def _text(members: dict[str, msgspec.Raw], name: str) -> str | None:
    try:
        return msgspec.json.decode(members.get(name, b"null"), type=str | None)
    except NOT_JSON:
        return None
