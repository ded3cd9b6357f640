"""Replays of recorded answers of real providers through the gateway, to clients of every API, as streams and whole.

A cell is one recording, one client API and one form. If the client has the recording's API and form, the gateway passes
the events unchanged, and the judge is tolerant, because real providers break their own grammar. In all other cells, the
gateway writes the answer: it must keep the grammar, and the official SDK must read the recording's content from it.
"""

import base64
import http.client
import http.server
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import anthropic.types
import attrs
import openai.types.chat
import openai.types.responses
import pydantic
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState

from providers.grammar import judge
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Reply, complaint, config, free_port, provider
from tests.support.http_servers import QuietHandler, http_server
from tests.support.recordings import (
    ABSENT,
    Call,
    RecordedContent,
    Recording,
    answers,
    content_of,
    errors,
    events,
    parse_content,
)
from tests.support.upstreams import PATHS
from tests.support.wire_clients import body_of

pytestmark = pytest.mark.skipif(not answers(), reason=ABSENT)


@attrs.frozen
class Cell:
    recording: Recording
    client: str
    stream: bool

    @property
    def group(self) -> str:
        return f"{self.recording.api}-to_{self.client}_{'stream' if self.stream else 'whole'}"

    @property
    def key(self) -> str:
        return self.recording.key

    @property
    def native(self) -> bool:
        """True if the client has the recording's API: it then gets the members that only this API has."""
        return self.client == self.recording.api

    @property
    def passes(self) -> bool:
        """True if the client requests the recording's API and form, so that its events pass unchanged."""
        return (self.client, self.stream) == (self.recording.api, self.recording.streamed)


def cells(recordings: tuple[Recording, ...]) -> list[Cell]:
    return [Cell(one, api, stream) for one in recordings for api in OLDER for stream in (True, False)]


@attrs.frozen
class Failure:
    """The client's response to a recorded failure: ``status`` if it has no content. If content has ``begun``, a stream
    ends in an error event."""

    why: str
    status: int
    begun: bool = False
    says: bytes = b""  # in the error event


BROKEN = Failure("an error in the middle of the stream", 502, begun=True, says=b"The server had an error.")
CUT = Failure("the stream ends without its last words", 502, begun=True, says=b"the provider ended the stream early")
FAILED: Mapping[str, Failure] = {
    "53b444": Failure("Groq breaks its stream off with `event: error` in the middle of the reasoning", 502, begun=True,
                      says=b"tool call validation failed"),
    "47dc09": Failure("OpenAI's `error` event (insufficient_quota) follows `response.created`", 429),
    "messages-error": Failure("an error in the middle of the stream", 503, begun=True, says=b"Overloaded"),
    "chat-error": BROKEN, "responses-error": BROKEN, "chat-cut": CUT, "messages-cut": CUT, "responses-cut": CUT,
    "64d6e2": Failure("the status of a background response is `queued`: there is no answer yet", 502),
}  # fmt: skip
# A client of the same API gets this body without an error, because it requested `background`.
QUEUED = "64d6e2"
REPAIRED = ("8955c7", "a0bc92", "ee0342")
"""Recordings of calls that SDKs would misread: Mistral's have no numbers, and Google's have empty ids."""

# These recordings break the grammar even in tolerant mode, and the gateway passes them unchanged.
UNGRAMMATICAL: Mapping[str, str] = {
    "307487": "made for an SDK's tests: the last block of the stream is never closed",
}
EXCLUDED: Mapping[str, str] = {}
"""Recordings that are not replayed, and why: none."""

REPLAYED = tuple(one for one in answers() if one.key not in EXCLUDED)
FAILING = [cell for cell in cells(REPLAYED) if cell.key in FAILED and not (cell.key == QUEUED and cell.passes)]
PASSING = [cell for cell in cells(REPLAYED) if cell.passes and cell not in FAILING]
TRANSLATED = [cell for cell in cells(REPLAYED) if not cell.passes and cell not in FAILING]
REFUSED = cells(errors())


def group_cells(found: list[Cell]) -> pytest.MarkDecorator:
    """Make a test of the ``found`` cells for each pair of APIs and each form."""
    groups: dict[str, list[Cell]] = {}
    for cell in found:
        groups.setdefault(cell.group, []).append(cell)
    return pytest.mark.parametrize("cells", [pytest.param(group, id=name) for name, group in groups.items()])


# The two sides


class _Provider(QuietHandler):
    """A provider that returns the recording with the model's id, in its recorded form."""

    known: Mapping[str, Recording] = {}

    def do_POST(self) -> None:
        recording = self.known[json.loads(self.read_body())["model"]]
        self.respond(recording.status, recording.body, recording.content_type)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    known = {one.key: one for one in (*answers(), *errors())}
    bound = type("_Bound", (_Provider,), {"known": known})
    with http_server(bound) as host:
        yield f"http://{host}"


def is_stream(got: Reply) -> bool:
    return got.headers["content-type"].startswith("text/event-stream")


@pytest.fixture(scope="module")
def ask(upstream: str) -> Iterator[Callable[[Cell], Reply]]:
    vendors = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
    entries = [provider(f"{vendors[api]}/*", upstream, [api], name=f"{api}/*") for api in OLDER]
    port = free_port()
    with gateway_thread(config(entries, port), port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

        def send_question(cell: Cell) -> Reply:
            model = f"{cell.recording.api}/{cell.recording.key}"
            body = json.dumps(body_of(cell.client, model, "Go.", stream=cell.stream, limit=1000)).encode()
            connection.request("POST", PATHS[cell.client], body, {"content-type": "application/json"})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, headers, response.read())

        yield send_question
        connection.close()


# Answers as the SDKs read them


def sdk_answer(cell: Cell, got: Reply) -> Mapping[str, Any]:
    """Return the whole answer as the client's official SDK assembles it. Translated events and objects are also
    validated, because the SDKs accept anything that their provider sends."""
    if not is_stream(got):
        whole, value = WHOLE[cell.client], json.loads(got.body)
        return (whole.construct(**value) if cell.native else whole(**value)).to_dict(warnings=False)
    chunks = [value for _, value in events(got.body) if value.get("type") != "ping"]
    kind = EVENT[cell.client]
    if cell.native or b'"type":"custom"' in got.body:  # the chunks' type knows functions only
        made = [construct_type(type_=kind, value=chunk) for chunk in chunks]
    else:
        made = [_adapter(cell.client).validate_python(chunk) for chunk in chunks]
    return ACCUMULATED[cell.client](made).to_dict(warnings=False)


@cache
def _adapter(api: str) -> "pydantic.TypeAdapter[Any]":
    return pydantic.TypeAdapter[Any](EVENT[api])


def _chat_stream(chunks: list[Any]) -> Any:
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(chunk)
    return state.current_completion_snapshot


def _messages_stream(chunks: list[Any]) -> Any:
    message: Any = None
    buffers: dict[int, bytes] = {}
    for chunk in chunks:
        message = accumulate_event(event=chunk, current_snapshot=message, json_bufs=buffers)
    return message


def _responses_stream(chunks: list[Any]) -> Any:
    state = ResponseStreamState(input_tools=[], text_format=openai.omit)
    for chunk in chunks:
        state.handle_event(chunk)
    return chunks[-1].response


ACCUMULATED: Mapping[str, Callable[[list[Any]], Any]] = {
    "chat": _chat_stream, "messages": _messages_stream, "responses": _responses_stream,
}  # fmt: skip
EVENT: Mapping[str, Any] = {
    "chat": openai.types.chat.ChatCompletionChunk,
    "messages": anthropic.types.RawMessageStreamEvent,
    "responses": openai.types.responses.ResponseStreamEvent,
}
WHOLE: Mapping[str, Any] = {
    "chat": openai.types.chat.ChatCompletion,
    "messages": anthropic.types.Message,
    "responses": openai.types.responses.Response,
}


# The expected content

# Neutral words for each API's stop reasons, and then each API's stop reasons for the neutral words.
MEANS: Mapping[str, Mapping[str | None, str]] = {
    "chat": {
        "stop": "stop", "": "stop", None: "stop", "length": "length", "tool_calls": "called",
        "function_call": "called", "content_filter": "refused",
    },
    "messages": {
        "end_turn": "stop", "stop_sequence": "stop_sequence", "max_tokens": "length", "tool_use": "called",
        "refusal": "refused", "pause_turn": "pause", "model_context_window_exceeded": "full",
    },
    "responses": {"completed": "stop", "max_output_tokens": "length", "content_filter": "refused"},
}  # fmt: skip
WORDS: Mapping[str, Mapping[str, str]] = {
    "chat": {
        "stop": "stop", "stop_sequence": "stop", "pause": "stop", "length": "length", "full": "length",
        "called": "tool_calls", "refused": "content_filter",
    },
    "messages": {word: means for means, word in MEANS["messages"].items() if means is not None},
    "responses": {
        "stop": "completed", "stop_sequence": "completed", "pause": "completed", "called": "completed",
        "length": "max_output_tokens", "full": "max_output_tokens", "refused": "content_filter",
    },
}  # fmt: skip


def stop_word(recorded: RecordedContent, api: str, client: str) -> str:
    """Return the stop reason that ``client`` must get: only answers with calls may end because of a tool."""
    means = MEANS[api][recorded.stop]
    if recorded.calls and means == "stop":
        means = "called"
    return WORDS[client]["stop" if means == "called" and not recorded.calls else means]


def words(one: RecordedContent, client: str) -> Any:
    """Return text, refusals, reasoning and calls in the form of ``client``: in order, but in Chat by kind. A Messages
    client gets refusals as text."""
    if client == "chat":
        return one.text, one.refusal, one.thinking, [(call.name, call.arguments) for call in one.calls]
    parts = [("text" if kind == "refusal" and client == "messages" else kind, value) for kind, value in one.parts]
    return [
        (kind, (value.name, fit(value.arguments, client)) if isinstance(value, Call) else value)
        for kind, value in parts
        if kind != "seal"
    ]


def fit(arguments: Any, client: str) -> Any:
    """Wrap arguments that a limit has cut, and that are not JSON: a whole Messages answer needs an object."""
    return {"_raw": arguments} if client == "messages" and isinstance(arguments, str) else arguments


GOOD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def assert_ids_kept(recorded: list[Call], got: list[Call]) -> None:
    """Check that each unique id of the provider that is valid in every API is kept, and each other id replaced."""
    ids = [call.id for call in recorded]
    assert len({call.id for call in got}) == len(got)
    for id, call in zip(ids, got, strict=True):
        if GOOD_ID.fullmatch(id) and ids.count(id) == 1:
            assert call.id == id
        else:
            assert GOOD_ID.fullmatch(call.id)


def unseal(seal: Any) -> Iterator[Any]:
    """Yield the provider's sealed reasoning from the client's, which the gateway may have sealed again."""
    text = seal["data"] if isinstance(seal, dict) and "data" in seal else seal
    if not (isinstance(text, str) and text.startswith("tg1.")):
        yield seal
        return
    packed = text.removeprefix("tg1.")
    _, _, api, items = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    for item in items if isinstance(items, list) else [items]:
        if api == "messages" and item is not None:
            yield item.get("signature") or item["data"]
        elif api == "responses" and item.get("encrypted_content"):
            yield item["encrypted_content"]
        elif api == "chat":
            yield from item.get("reasoning_details", ())


# The cells


@group_cells(PASSING)
def test_events_of_the_clients_own_api_and_form_pass_unchanged(cells: list[Cell], ask: Callable[[Cell], Reply]) -> None:
    for cell in cells:
        with case(cell.key):
            got = ask(cell)
            assert (got.status, got.headers["x-trigate-lane"]) == (200, "byte")
            end = b"" if not cell.stream or cell.recording.body.endswith((b"\n\n", b"\r\n\r\n")) else b"\n\n"
            if cell.key in REPAIRED:
                assert got.body != cell.recording.body + end
                continue
            assert got.body == cell.recording.body + end
            if cell.key not in (*UNGRAMMATICAL, QUEUED):
                verdict = judge(cell.client, got.body, streamed=cell.stream, tolerant=True)
                assert verdict.broken is None
                assert verdict.outcome == "complete"


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # the SDK warns about items that it does not know
@group_cells(TRANSLATED)
def test_a_translated_answer_has_the_providers_content(cells: list[Cell], ask: Callable[[Cell], Reply]) -> None:
    for cell in cells:
        with case(cell.key):
            got = ask(cell)
            assert got.status == 200, got.body[:500]
            assert is_stream(got) is cell.stream
            asked = cell.stream if cell.client == "chat" else None
            verdict = judge(cell.client, got.body, streamed=cell.stream, tolerant=cell.native, include_usage=asked)
            assert verdict.broken is None
            assert verdict.outcome == "complete"

            recorded = content_of(cell.recording)
            heard = parse_content(cell.client, sdk_answer(cell, got), recorded.hosted)
            assert words(heard, cell.client) == words(recorded, cell.client)
            assert_ids_kept(recorded.calls, heard.calls)
            assert [item for seal in heard.seals for item in unseal(seal)] == recorded.seals
            assert heard.stop == stop_word(recorded, cell.recording.api, cell.client)
            assert heard.stop_sequence == (recorded.stop_sequence if cell.client == "messages" else None)
            if recorded.tokens is not None:
                assert heard.tokens == recorded.tokens


@group_cells(FAILING)
def test_a_recorded_failure_is_an_error_instead_of_an_empty_success(
    cells: list[Cell], ask: Callable[[Cell], Reply]
) -> None:
    for cell in cells:
        with case(cell.key):
            expected = FAILED[cell.key]
            got = ask(cell)
            if not (expected.begun and cell.stream):
                complaint(cell.client, got, expected.status)
                continue
            assert got.status == 200
            verdict = judge(cell.client, got.body, streamed=True, tolerant=cell.native)
            assert verdict.broken is None
            assert verdict.outcome == "failed"
            assert expected.says in got.body
            assert b"[DONE]" not in got.body


# The client's status for each status of the provider: a refused credential is the gateway's fault, not the client's.
STATUS: Mapping[int, int] = {400: 400, 401: 502, 403: 502, 404: 404, 429: 429}
KEY_REFUSED: Mapping[str, str] = {"ff4d7b": "xAI"}
"""Recordings of a 400 for a refused key."""
CALL_REFUSED: Mapping[str, str] = {"78f60e": "Groq"}
"""Recordings of a 400 for a call that the provider's own model has written."""
# For prompts that are too long, the client gets the error of its own API.
TOO_LONG: Mapping[str, str] = {
    "33c69d": "Anthropic", "c78aa9": "DeepSeek", "5115ea": "Ollama", "9e855e": "Perplexity",
}  # fmt: skip


def recorded_message(error: Any, is_native: bool) -> str:
    """Return the message of a recorded error. In another API, it is the reason that OpenRouter has in ``metadata``."""
    if isinstance(error, str):
        return error
    reason = None if is_native else error.get("metadata", {}).get("raw")
    return str(reason or error["message"])


@group_cells(REFUSED)
def test_a_recorded_error_reaches_every_client_in_its_own_shape(
    cells: list[Cell], ask: Callable[[Cell], Reply]
) -> None:
    for cell in cells:
        with case(cell.key):
            recorded = json.loads(cell.recording.body)
            is_translated_call = cell.key in CALL_REFUSED and not cell.native
            status = 502 if cell.key in KEY_REFUSED or is_translated_call else STATUS[cell.recording.status]
            got = ask(cell)
            error = complaint(cell.client, got, status, passed=cell.native and status != 502)
            message = recorded_message(recorded["error"], cell.native)
            if status == 502 and cell.key not in CALL_REFUSED:
                assert message not in error["message"]
                assert got.headers["x-should-retry"] == "false"
            elif cell.key not in TOO_LONG:
                assert error["message"] == message
            if status == 429:
                assert int(got.headers["retry-after"]) > 0
