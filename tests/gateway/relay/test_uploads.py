"""Uploads on real sockets: edited while they pass, stored if they must be, and deleted when their client leaves."""

import contextlib
import gzip
import io
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import IO, ClassVar

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httpx2
import trio

from gateway.relay.relaying import PASSING
from tests.support.asgi_app import eventually
from tests.support.audio_files import wav
from tests.support.bare_provider import listening
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    json_answer,
    settings,
)
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.multipart import KIND, multipart, part
from tests.support.uploading import Upload

PATH = "/v1/audio/transcriptions"
FILE = part("file", wav(2.5), 'größer "a"; b.wav', "Content-Type: audio/wav")
FIELDS = [part("timestamp_granularities[]", b"word"), part("timestamp_granularities[]", b"segment")]
MODEL = part("model", b"fast")
ENTRY = {"name": "fast"}
ANSWER = {"text": "Hello.", "usage": {"type": "duration", "seconds": 3}}
transcribing = partial(before, lambda asked: json_answer(ANSWER), "openai/whisper-1", ENTRY)


async def post(
    served: InProcess, content: bytes | AsyncIterator[bytes], path: str = PATH, **headers: str
) -> httpx2.Response:
    return await served.post(path, content=content, headers={"content-type": KIND, **headers})


@contextlib.asynccontextmanager
async def in_front_of(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[InProcess]:
    """Run a gateway with a provider that handles its connections with ``serve``."""
    async with listening(serve) as url:
        entry = {"model": "openai/whisper-1", "access_key": "k", **ENTRY, "base_url": f"{url}/v1"}
        async with gateway(settings(entry)) as served:
            yield served


async def in_chunks(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def expected_form(parts: Sequence[bytes]) -> bytes:
    """Return the form that the provider gets for these parts."""
    return multipart(parts).replace(b"\r\nfast\r\n", b"\r\nwhisper-1\r\n")


@needs_feature("other_endpoints")
async def test_a_form_reaches_the_provider_byte_for_byte_but_for_its_model():
    """In any order of its parts, with its length or in chunks (BerriAI/litellm#41625, maximhq/bifrost#5320)."""
    big = part("file", bytes(3 * 2**20), "big.wav")
    forms = [
        [MODEL, *FIELDS, FILE],
        [FILE, MODEL, *FIELDS],
        [FIELDS[0], MODEL, FIELDS[1], FILE],
        [big, FIELDS[0], MODEL, FIELDS[1]],
        [MODEL, big],
    ]
    async with transcribing() as (served, provider):
        for parts in forms:
            for content in (multipart(parts), in_chunks(multipart(parts))):
                found = await post(served, content)
                assert found.json() == ANSWER
                assert found.headers["x-trigate-target"] == "openai/whisper-1"
                asked = provider.asked.pop()
                assert asked.body == expected_form(parts)
                assert asked.headers["content-type"] == KIND
                assert asked.headers["authorization"] == "Bearer provider-key"
                length = asked.headers.get("content-length")
                assert length == str(len(expected_form(parts))) or (length is None and not isinstance(content, bytes))
        assert served.service.admission.shares.spooled.total == 0
        assert served.service.admission.shares.bodies.total == 0


@needs_feature("other_endpoints")
async def test_a_form_that_cannot_be_forwarded_is_refused_before_anything_is_sent():
    async with transcribing() as (served, provider):
        for content, status, said, headers in (
            (multipart([MODEL, MODEL, FILE]), 400, "twice", {}),
            (multipart([MODEL, part("user", b"ann"), part("user", b"eve"), FILE]), 400, "user appears twice", {}),
            (multipart([MODEL, part("n", b"9"), part("N", b"1"), FILE]), 400, "n appears twice", {}),
            (multipart([MODEL, part("n", b" " * 1024 + b"9"), FILE]), 400, "n has more than 1024 bytes", {}),
            (multipart([FILE]), 400, "model is required", {}),
            (multipart([part("model", b"unknown"), FILE]), 404, "unknown", {}),
            (multipart([MODEL, FILE])[:-20], 400, "ends before", {}),
            (b"{}", 400, "must start with the boundary", {}),
            (b"{}", 400, "multipart/form-data", {"content-type": "application/json"}),
            (multipart([MODEL, FILE]), 415, "compressed", {"content-encoding": "gzip"}),
        ):
            found = await post(served, content, **headers)
            assert (found.status_code, said in found.json()["error"]["message"]) == (status, True), found.text
        assert [asked for asked in provider.asked if asked.body] == []


@each_row(
    ("path", "kind"),
    [
        *rows_of("other_endpoints", ("/v1/audio/transcriptions", KIND)),
        *rows_of("files", ("/v1/files", KIND), ("/v1/uploads/upload_1/parts", KIND), ("/v1/containers", KIND)),
        *rows_of("pass_through", ("/mine/files", KIND), ("/mine/x", "application/octet-stream")),
    ],
)
async def test_a_compressed_upload_is_refused(path: str, kind: str):
    """The provider would store compressed bytes without their header."""
    entry = {"name": "mine", **members_of("pass_through", passthrough=True)}
    async with before(lambda asked: json_answer({"id": "file-1"}), "openai/whisper-1", entry) as (served, provider):
        headers = {"content-type": kind, "content-encoding": "gzip"}
        found = await served.post(path, content=gzip.compress(multipart([MODEL, FILE])), headers=headers)
        assert (found.status_code, provider.asked) == (415, []), found.text


@needs_feature("other_endpoints")
async def test_an_early_refusal_ends_the_upload():
    """A provider that refuses the rest sends its refusal immediately (413, 429)."""

    async def refuse(stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        body = b'{"error":{"message":"too many seconds"}}'
        await stream.send_all(
            b"HTTP/1.1 413 X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass

    async with in_front_of(refuse) as served:
        form = multipart([MODEL, part("file", bytes(2**20), "a.wav")])
        uploading = await Upload.begin(served, form, 2000)
        head = await uploading.answer()
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"too many seconds" in head


@needs_feature("other_endpoints")
async def test_a_good_answer_that_begins_early_gets_the_rest_of_the_upload():
    got = bytearray()

    async def begin(stream: trio.SocketStream) -> None:
        while b"\r\n\r\n" not in got:
            got.extend(await stream.receive_some())
        await stream.send_all(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n")
        while not got.endswith(b"--\r\n"):
            got.extend(await stream.receive_some())
        await stream.send_all(b'{"text": "x"}')

    async with in_front_of(begin) as served:
        form = multipart([MODEL, part("file", bytes(2**20), "a.wav")])
        with trio.fail_after(10):
            found = await post(served, form)
        assert found.json() == {"text": "x"}
        assert bytes(2**20) in got


@needs_feature("other_endpoints")
async def test_a_file_that_never_fits_into_the_spool_is_too_large():
    form = multipart([part("file", bytes(3 * 2**20), "a.wav"), MODEL])
    async with transcribing(limits={"spool": "2MiB"}) as (served, provider):
        found = await post(served, form)
        assert found.status_code == 413
        message = found.json()["error"]["message"]
        assert "limits.spool (2097152 bytes)" in message
        assert "send the field model before the file" in message
        assert "retry-after" not in found.headers
        assert served.service.admission.shares.spooled.total == 0
        assert (await post(served, multipart([MODEL, part("file", bytes(3 * 2**20), "a.wav")]))).status_code == 200
        assert len(provider.asked) == 1


@needs_feature("other_endpoints")
async def test_a_file_that_does_not_fit_now_can_be_sent_later():
    form = multipart([part("file", bytes(3 * 2**19), "a.wav"), MODEL])
    async with transcribing(limits={"spool": "2MiB"}) as (served, _):
        shares = served.service.admission.shares
        other = await Upload.begin(served, form, 5 * 2**18)
        await eventually(lambda: shares.spooled.total > 2**20)
        found = await post(served, form)
        assert found.status_code == 503
        assert "model before the file" in found.json()["error"]["message"]
        assert found.headers["retry-after"]
        await other.leave()


TWO_CLIENTS = [{"name": name, "key": f"key-of-{name}"} for name in ("first", "second")]


@needs_feature("other_endpoints")
async def test_the_waiting_uploads_of_one_client_leave_half_of_the_disk_to_others():
    """A client that sends a byte now and then would otherwise occupy all of it (OWASP API4:2023)."""
    form = multipart([part("file", bytes(3 * 2**19), "a.wav"), MODEL])
    async with transcribing(limits={"spool": "4MiB"}, client_keys=TWO_CLIENTS) as (served, _):
        held = served.service.admission.shares.spooled.held
        slow = await Upload.begin(served, form, 5 * 2**18, authorization="Bearer key-of-first")
        await eventually(lambda: held["first"] > 2**20)
        refused = await post(served, form, authorization="Bearer key-of-first")
        assert (refused.status_code, "its share of limits.spool" in refused.text) == (429, True)
        assert refused.headers["retry-after"]
        assert (await post(served, form, authorization="Bearer key-of-second")).json() == ANSWER
        large = multipart([part("file", bytes(3 * 2**20), "a.wav"), MODEL])
        found = await post(served, large, authorization="Bearer key-of-second")
        assert (found.status_code, "the client's share of limits.spool" in found.text) == (413, True)
        await slow.leave()
        await eventually(lambda: not held)


@needs_feature("other_endpoints")
@each_row(
    ("path", "kind", "limited"),
    [
        (PATH, KIND, False),
        ("/v1/images/edits", KIND, False),
        *rows_of(
            "pass_through",
            ("/fast/any", KIND, False),
            ("/fast/any", "audio/wav", False),
            ("/fast/any", "audio/wav", True),
        ),
    ],
    every=3,
)
async def test_uploads_to_a_slow_provider_count_as_memory(path, kind, limited):
    """Each waits with 256 KiB and more, as many as a client opens (OWASP API4:2023)."""

    async def never(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    keys = [{"name": "first", "key": "key-of-first"}, {"name": "second", "key": "key-of-second"}]
    for key in keys:
        key |= {**members_of("pass_through", passthrough=["fast"]), **({"models": ["fast"]} if limited else {})}
    async with listening(never) as url:
        entry = {"model": "openai/gpt-image-1", "access_key": "k", **ENTRY, "base_url": f"{url}/v1"}
        entry |= members_of("pass_through", passthrough=True)
        content = settings(entry) | {"client_keys": keys, "limits": {"bodies": "1MiB"}}
        async with gateway(content) as served:
            shares = served.service.admission.shares
            begun = []
            for key in ("key-of-first", "key-of-first", "key-of-second"):
                headers = {"content-type": kind, "authorization": f"Bearer {key}"}
                begun.append(await Upload.begin(served, BEGUN, len(BEGUN), 9 * 2**20, path, **headers))
                await eventually(lambda: "first" in shares.bodies.held)  # so that the second one is refused
            refused = await begun[1].answer()
            assert refused.startswith(b"HTTP/1.1 429 "), refused
            await eventually(lambda: shares.used["in_flight"] == 2)
            assert min(shares.bodies.held["first"], shares.bodies.held["second"]) >= PASSING
            for upload in (begun[0], begun[2]):
                await upload.leave()
            await eventually(lambda: not shares.bodies.total)


@needs_feature("other_endpoints")
async def test_each_path_has_its_limit_unless_the_configuration_sets_one():
    async with transcribing() as (served, provider):
        found = await Upload.begin(served, multipart([MODEL, FILE]), 100, length=101 * 2**20)
        assert (await found.answer()).startswith(b"HTTP/1.1 413 ")
    async with transcribing(limits={"request_body": "1KiB"}) as (served, provider):
        assert (await post(served, multipart([MODEL, FILE]))).status_code == 413
        assert (await post(served, in_chunks(multipart([MODEL, FILE]), 300))).status_code == 413
        assert [asked for asked in provider.asked if asked.body] == []


class WatchedFile(io.BufferedRandom):
    """A temporary file that records the threads that close it."""

    closed_in: ClassVar[list[threading.Thread]] = []

    def close(self) -> None:
        if not self.closed:
            self.closed_in.append(threading.current_thread())
        super().close()


@needs_feature("other_endpoints")
async def test_the_file_of_an_upload_is_deleted_in_a_thread(monkeypatch):
    """Deleting a gigabyte takes 0.1 s, and longer while the disk is busy: all streams waited."""
    open_file = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: WatchedFile(open_file(buffering=0)))
    async with transcribing() as (served, _):
        await post(served, multipart([part("file", bytes(3 * 2**20), "big.wav"), MODEL]))
        await eventually(lambda: WatchedFile.closed_in)
    assert threading.current_thread() not in WatchedFile.closed_in


@needs_feature("other_endpoints")
async def test_uploads_whose_disk_does_not_respond_delay_no_other_work(monkeypatch):
    """They kept all threads of the process, for which pages, reloads and the first websocket waited."""
    responds, open_file = threading.Event(), tempfile.TemporaryFile
    kept: list[threading.Thread] = []
    answers: list[httpx2.Response] = []

    def open_late() -> IO[bytes]:
        kept.append(threading.current_thread())
        responds.wait()
        return open_file()

    async def upload(served: InProcess) -> None:
        answers.append(await post(served, multipart([part("file", bytes(2**20 + 1), "big.wav"), MODEL])))

    monkeypatch.setattr(tempfile, "TemporaryFile", open_late)
    async with transcribing() as (served, _), trio.open_nursery() as nursery:
        try:
            for _ in range(50):
                nursery.start_soon(upload, served)
            await eventually(lambda: len(kept) == trio.to_thread.current_default_thread_limiter().total_tokens)
            with trio.fail_after(PATIENCE):
                await trio.to_thread.run_sync(str)
        finally:
            responds.set()
    assert [one.status_code for one in answers] == [200] * 50


# The client leaves


async def wait_until_gone(served: InProcess, provider: EndpointProvider) -> None:
    """Wait until nothing of the request is left in the gateway and at the provider."""
    with trio.fail_after(PATIENCE / 2):
        if provider.heads:
            await provider.left_now.wait()
        shares = served.service.admission.shares
        await eventually(lambda: not (shares.spooled.total or shares.bodies.total or shares.used["in_flight"]))


@needs_feature("other_endpoints")
async def test_the_client_leaving_closes_the_provider_at_every_tenth_of_an_upload():
    """BlockRunAI/ClawRouter#251, openclaw/openclaw#116146."""
    file = part("file", bytes(2**20 + 2**19), "a.wav")

    async def never(asked: ReceivedRequest) -> ScriptedAnswer:
        await trio.sleep_forever()
        raise AssertionError

    for parts in ([MODEL, file], [file, MODEL]):
        form = multipart(parts)
        async with before(never, "openai/whisper-1", ENTRY) as (served, provider):
            for tenth in range(1, 11):
                provider.left_now, provider.begun, size = trio.Event(), trio.Event(), len(form) * tenth // 10
                provider.body_bytes = 0
                provider.heads.clear()
                upload = await Upload.begin(served, form, size)
                reaches_it = size - 500 if parts[0] is MODEL else -1
                await eventually(lambda least=reaches_it: provider.body_bytes > least)
                await upload.leave()
                await wait_until_gone(served, provider)
        assert provider.asked == [] or tenth == 10


# A provider that reads nothing


async def deaf(stream: trio.SocketStream) -> None:
    """Accept a connection and never read from it."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await trio.sleep_forever()


BEGUN = multipart([MODEL, part("file", b"", "a.wav")]).rpartition(b"\r\n--")[0]
MOST = 32 * 2**20
"""More bytes than a client can send if no program reads them: the sockets take some MiB."""


@needs_feature("other_endpoints")
async def test_a_slow_provider_slows_the_client_but_its_disconnect_is_noticed():
    """TCP reports an orderly end only after all the data before it, and a reset immediately."""
    async with in_front_of(deaf) as served:
        upload = await Upload.begin(served, BEGUN, len(BEGUN), length=99 * 2**20)
        assert await sent_until_stuck(upload.send) < MOST
        assert served.service.admission.shares.used["in_flight"] == 1
        await upload.reset()
        await eventually(lambda: not served.service.admission.shares.used["in_flight"])


async def sent_until_stuck(send: Callable[[bytes], Awaitable[None]]) -> int:
    """Send until no more data is accepted for a while, and return the number of bytes sent."""
    size, block = 0, bytes(2**18)
    while size < MOST:
        with trio.move_on_after(0.5) as waited:
            await send(block)
        if waited.cancelled_caught:
            break
        size += len(block)
    return size


class Http2Upload:
    """Uploads over one HTTP/2 connection, one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.connection.initiate_connection()

    async def send(self, form: bytes, rest: int = 0, seconds: float = 10) -> tuple[int, int]:
        """Send ``form`` and ``rest`` more bytes, and return the bytes that the server accepted and the status, or 0
        if it sends nothing for ``seconds``."""
        number = self.connection.get_next_available_stream_id()
        head = [(":method", "POST"), (":path", PATH), (":scheme", "http"), (":authority", "x"), ("content-type", KIND)]
        self.connection.send_headers(number, head)
        left, size, status = form + bytes(rest), 0, 0
        while True:
            room = min(self._room(number), self.connection.max_outbound_frame_size, len(left))
            if room > 0:
                self.connection.send_data(number, left[:room], end_stream=room == len(left))
                left, size = left[room:], size + room
            await self.stream.send_all(self.connection.data_to_send())
            if room > 0:
                continue
            with trio.move_on_after(seconds) as silence:
                data = await self.stream.receive_some(65536)
            if silence.cancelled_caught:
                return size, status
            for event in self.connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id == number:
                    return size, status

    def _room(self, number: int) -> int:
        try:
            return self.connection.local_flow_control_window(number)
        except h2.exceptions.ProtocolError:  # it has ended
            return 0


@needs_feature("other_endpoints")
async def test_over_http2_an_unread_upload_delays_no_other():
    """Such an upload exhausted the window of the whole connection."""
    unknown = multipart([part("model", b"nobody"), part("file", bytes(50_000), "a.wav")])
    async with in_front_of(deaf) as served:
        client = Http2Upload(await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2])))
        size, status = await client.send(BEGUN, rest=MOST, seconds=0.5)
        assert (size < MOST, status) == (True, 0)
        assert (await client.send(unknown))[1] == 404
        await client.stream.aclose()
        await eventually(lambda: not served.service.admission.shares.used["in_flight"])


@needs_feature("other_endpoints")
async def test_an_answer_amid_an_upload_gives_the_connections_window_back():
    refused = multipart([MODEL, MODEL, part("file", bytes(2**20), "a.wav")])
    good = multipart([MODEL, part("file", bytes(2**20), "a.wav")])
    async with before(lambda asked: json_answer(ANSWER), "openai/whisper-1", ENTRY) as (served, _):
        client = Http2Upload(await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2])))
        for form, status in ((refused, 400), (refused, 400), (refused, 400), (good, 200)):
            assert (await client.send(form))[1] == status
        await client.stream.aclose()


@needs_feature("other_endpoints")
async def test_the_members_of_a_group_share_uploads():
    """Each goes to the member with the fewest open answers, as conversations do."""
    busy = trio.Event()

    async def slow(asked: ReceivedRequest) -> ScriptedAnswer:
        await busy.wait()
        return json_answer(ANSWER)

    form = multipart([part("model", b"either"), FILE])
    async with endpoint_provider(slow) as one, endpoint_provider(slow) as other:
        entries = [
            {"model": "openai/whisper-1", "name": name, "access_key": "k", "base_url": f"{provider.url}/v1"}
            for name, provider in (("one", one), ("other", other))
        ]
        aliases = {"either": {"targets": [["one", "other"]]}}
        async with gateway(settings(*entries, model_aliases=aliases)) as served, trio.open_nursery() as nursery:
            for number in range(1, 5):
                nursery.start_soon(post, served, form)
                await eventually(lambda number=number: len(one.asked) + len(other.asked) == number)
            assert (len(one.asked), len(other.asked)) == (2, 2)
            busy.set()
