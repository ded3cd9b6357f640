"""Recordings of exchanges: their collection, their files, their replay, and secrets that no file contains."""

import base64
import contextlib
import json
import os
import re
import resource
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.replay import UnreadableRecording, address_of, run
from gateway.config.credentials import secrets_in
from gateway.config_files.loading import from_mapping
from gateway.features.recording import recorded, recording
from gateway.features.recording.recorded import COLUMNS, INDEX, Folder, Side
from gateway.features.recording.recording import Recorder
from gateway.http.redaction import LONGEST_ERROR, SHORTEST, search_forms
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.client_request import ClientRequest
from gateway.seams.observers import observation_of
from gateway.upstream.request import UpstreamRequest
from providers.framings import events_in
from providers.neutral.invoked import INVOKED
from providers.recordings import CUT_REQUEST, read_recording
from streams.event_stream import EVENT_STREAM, event_frame, exception_frame
from tests.support.asgi_app import eventually
from tests.support.recordings import ABSENT, recordings

KEY = 'sk-"very"-secret'
SECRET = b"sk-in-a-frame-0123456789"
FRAMES = EVENT_STREAM.content_type
LINE = {"ended": "complete", "model": "fast model", "lane": "hub", "reason": "stop", "request_id": "call-1"}
STREAM = b'data: {"choices":[]}\n\ndata: [DONE]\n\n'
SIDE = Side(
    "provider", "chat", "/v1/chat/completions", b'{"model":"gpt","messages":[]}', STREAM, 200,
    "text/event-stream; charset=utf-8", (), (("x-ratelimit-remaining", "3"),), "openai",
)  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    head, *lines = (folder / INDEX).read_text().splitlines()
    assert head.split("\t") == list(COLUMNS)
    return [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]


def contents(folder: Path) -> bytes:
    return b"".join(file.name.encode() + file.read_bytes() for file in folder.rglob("*") if file.is_file())


# On disk


def test_a_recording_has_the_layout_of_the_corpus(tmp_path):
    client = attrs.evolve(SIDE, side="client", api="messages", path="/v1/messages", response=b"{}",
                          content_type="application/json")  # fmt: skip
    provider_meta, client_meta = Folder(tmp_path / "new" / "records").write([SIDE, client], LINE, ())
    folder = tmp_path / "new" / "records"
    stem = provider_meta.name.removesuffix(".meta.json")
    assert provider_meta.parent == folder / "openai_chat"
    assert stem.startswith("trigate.")
    assert (folder / "openai_chat" / f"{stem}.request.json").read_bytes() == SIDE.request
    assert (folder / "openai_chat" / f"{stem}.response.sse").read_bytes() == STREAM
    assert client_meta.parent == folder / "anthropic_messages"
    assert client_meta.with_name(client_meta.name.replace(".meta.", ".response.")).read_bytes() == b"{}"
    meta = json.loads(provider_meta.read_bytes())
    assert meta["bytes_exact"] is True
    assert (meta["api"], meta["status"], meta["stream"], meta["model"]) == ("openai_chat", 200, True, "gpt")
    assert meta["response_headers"] == {"x-ratelimit-remaining": "3"}
    assert meta["exchange"]["request_id"] == "call-1"
    first, second = rows(folder)
    assert (first["name"], first["api"], first["stream"], first["model"]) == (
        f"openai_chat/{stem}", "openai_chat", "true", "gpt",
    )  # fmt: skip
    assert "side:client" in second["features"].split()


def test_a_model_name_of_a_million_letters_has_a_short_row(tmp_path):
    side = attrs.evolve(SIDE, request=b'{"model":"%b"}' % (b"m" * 1_000_000))
    Folder(tmp_path).write([side], LINE, ())
    (row,) = rows(tmp_path)
    assert row["model"] == "m" * 1000


def test_errors_are_recorded_in_their_own_folder(tmp_path):
    (meta,) = Folder(tmp_path).write([attrs.evolve(SIDE, status=429)], LINE, ())
    assert meta.parent.name == "error_responses"
    assert "status:429" in json.loads(meta.read_bytes())["features"]


def test_a_visible_recording_is_complete(tmp_path):
    """A reader may list the folder while a recording is written."""
    folder, begun, done = Folder(tmp_path), threading.Event(), threading.Event()
    seen: set[Path] = set()

    def look() -> None:
        begun.set()
        is_last = False
        while not is_last:
            is_last = done.is_set()
            for path in set(tmp_path.rglob("*.meta.json")) - seen:
                assert json.loads(path.read_bytes())["status"] == 200
                seen.add(path)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            assert begun.wait(30)
            for _ in range(20):
                folder.write([SIDE], {**LINE, "message": "x" * 10**6}, ())
        finally:
            done.set()  # also after a failed write, which would otherwise leave the other thread running
        looking.result()
    assert seen


def test_a_full_disk_leaves_no_partial_recording(tmp_path):
    folder = Folder(tmp_path)
    (meta,) = folder.write([SIDE], LINE, ())
    files = set(tmp_path.rglob("*"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            folder.write([attrs.evolve(SIDE, response=STREAM * 2**16)], LINE, ())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert set(tmp_path.rglob("*")) == files
    assert len(rows(tmp_path)) == 1
    assert read_recording(meta).response == STREAM


def test_a_full_disk_leaves_no_partial_row(tmp_path):
    folder = Folder(tmp_path)
    for _ in range(10):
        folder.write([SIDE], LINE, ())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / INDEX).stat().st_size + 30, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            folder.write([SIDE], LINE, ())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    folder.write([SIDE], LINE, ())
    assert all((tmp_path / f"{row['name']}.meta.json").exists() for row in rows(tmp_path))
    assert len(rows(tmp_path)) == 11


def test_recordings_are_private(tmp_path):
    old = os.umask(0)
    try:
        Folder(tmp_path / "records").write([SIDE], LINE, ())
    finally:
        os.umask(old)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "records").rglob("*")}
    assert stat.S_IMODE((tmp_path / "records").stat().st_mode) == 0o700
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_no_file_repeats_a_credential(tmp_path):
    spelled = json.dumps(KEY)[1:-1].encode()
    side = attrs.evolve(
        SIDE, request=b'{"model":"m","metadata":"' + spelled + b'"}', response=KEY.encode() + STREAM,
        response_headers=(("x-ratelimit-note", KEY),),
    )  # fmt: skip
    line = {**LINE, "model": KEY, "message": f"refused {KEY}"}
    (meta,) = Folder(tmp_path).write([side], line, search_forms((KEY,)))
    for text in (KEY.encode(), spelled, b"very-secret"):
        assert text not in contents(tmp_path)
    assert "very" not in meta.name
    told = json.loads(meta.read_bytes())
    assert told["bytes_exact"] is False
    assert any("credentials" in note for note in told["notes"])


@pytest.mark.parametrize("padding", [0, LONGEST_ERROR])
def test_errors_have_no_credential_in_another_spelling(padding, tmp_path):
    """Providers quote requests in errors: in URLs, or in JSON as written by Go and PHP."""
    key = "Ab+/cd<secret>/1234=="
    spellings = [quote(key, safe=""), key.replace("/", "\\/"), key.replace("<", "\\u003c"), quote(quote(key, safe=""))]
    begin = STREAM[: STREAM.index(b"data: [DONE]")] + b": " + b"x" * padding + b"\n\n"
    for number, spelled in enumerate(spellings):
        error = b'{"error":{"message":"wrong key: %b"}}' % spelled.encode()
        in_frame = exception_frame("throttlingException", b'{"message":"%b"}' % spelled.encode())
        header = (("x-ratelimit-note", spelled),)
        sides = [
            attrs.evolve(SIDE, response=begin + b"data: %b\n\n" % error, response_headers=header),
            attrs.evolve(SIDE, response=error, status=401, content_type="application/json"),
            attrs.evolve(SIDE, api="converse", response=in_frame, content_type=FRAMES),
        ]
        for side in sides:
            (meta,) = Folder(tmp_path / str(number)).write([side], LINE, search_forms((key,)))
            assert b"[redacted]" in read_recording(meta).response
            assert json.loads(meta.read_bytes())["bytes_exact"] is False
        assert spelled.encode() not in contents(tmp_path)
        assert json.dumps(spelled)[1:-1].encode() not in contents(tmp_path)


def test_frames_are_recorded_whole_without_credentials(tmp_path):
    """Frames have checksums, and InvokeModel's frames have Anthropic's events in base64."""
    inner = base64.b64encode(b'{"type":"message_stop","note":"%b"}' % SECRET).decode()
    frames = [event_frame("messageStart", b'{"role":"assistant"}'),
              event_frame("x", b'{"text":"\xc3\xa9 %b"}' % SECRET),
              event_frame("chunk", json.dumps({"bytes": inner}).replace(" ", "").encode()),
              exception_frame("throttlingException", b'{"message":"%b"}' % SECRET)]  # fmt: skip
    for api, path in (("converse", "/model/a%3Ab/converse-stream"), ("messages", "/model/claude/invoke")):
        side = attrs.evolve(SIDE, api=api, path=path, request=b"{}", response=b"".join(frames), content_type=FRAMES)
        meta, same = Folder(tmp_path / api).write([side], LINE, (SECRET.decode(),)), side.response
        one = read_recording(meta[0])
        assert meta[0].with_name(meta[0].name.replace(".meta.json", ".response.eventstream")).exists()
        split = EVENT_STREAM.splitter(2**20).feed(one.response)
        assert len(split) == len(frames), api
        assert split[0] == frames[0]
        said = [INVOKED.parse(raw) if b"bytes" in raw else EVENT_STREAM.parse(raw) for raw in split]
        assert all(b"[redacted]" in data for _, data in said[1:])
        assert SECRET not in contents(tmp_path)
        assert base64.b64encode(SECRET)[4:-4] not in contents(tmp_path)
        told = json.loads(meta[0].read_bytes())
        assert (told["stream"], told["bytes_exact"], one.stream) == (True, False, True)
        assert told["model"] == ("a:b" if api == "converse" else "fast model")
        clean = attrs.evolve(side, response=frames[0])
        (meta2,) = Folder(tmp_path / api).write([clean], LINE, (SECRET.decode(),))
        assert read_recording(meta2).response == frames[0] != same


def test_a_stream_in_one_array_is_recorded_as_a_stream(tmp_path):
    side = attrs.evolve(SIDE, api="gemini", path="/v1beta/models/m:streamGenerateContent", request=b"{}",
                        response=b'[{"a":1}\n,{"b":2}]', content_type="application/json; charset=UTF-8")  # fmt: skip
    (meta,) = Folder(tmp_path).write([side], LINE, ())
    one = read_recording(meta)
    assert (one.api, one.stream, one.model, one.response) == ("gemini", True, "m", side.response)
    refused = attrs.evolve(side, response=b"{}", status=429)
    assert read_recording(Folder(tmp_path).write([refused], LINE, ())[0]).stream  # the replay requests a stream, too
    assert events_in(one.response) == [b'[{"a":1}', b'\n,{"b":2}', b"]"]


def test_a_recorded_request_is_sent_to_the_path_of_its_api():
    assert (
        address_of("http://h/v1beta", "gemini", "m", True) == "http://h/v1beta/models/m:streamGenerateContent?alt=sse"
    )
    assert address_of("http://h", "converse", "us.a:0", False) == "http://h/model/us.a:0/converse"
    assert address_of("http://h/v1", "chat", "m", True) == "http://h/v1/chat/completions"


def test_the_oldest_recordings_are_removed_and_other_files_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "TOTAL", 20_000)
    monkeypatch.setattr(recorded, "ROOM", 8_000)
    folder = Folder(tmp_path)
    stays = tmp_path / "openai_chat" / "somebody.else.abcdef.response.sse"
    (tmp_path / "openai_chat").mkdir()
    stays.write_bytes(b"x" * 50_000)
    somebody = b"openai_chat/somebody.\xff\trow\n"
    names = []
    for number in range(30):
        monkeypatch.setattr(recorded.time, "strftime", lambda *_, at=number: f"2026{at:04}")
        (meta,) = folder.write([attrs.evolve(SIDE, response=STREAM * 10)], LINE, ())
        names.append(meta)
        if number == 0:
            with (tmp_path / INDEX).open("ab") as index:
                index.write(somebody)
    left = [meta for meta in names if meta.exists()]
    assert stays.exists()
    assert left == names[-len(left) :]
    assert 3 < len(left) < 25
    ours = sum(file.stat().st_size for file in (tmp_path / "openai_chat").glob("trigate.*"))
    assert ours <= 20_000
    assert (tmp_path / INDEX).read_bytes().count(somebody) == 1
    (tmp_path / INDEX).write_bytes((tmp_path / INDEX).read_bytes().replace(somebody, b""))
    assert [row["name"] for row in rows(tmp_path)] == [f"openai_chat/{m.name.removesuffix('.meta.json')}" for m in left]


def test_several_processes_may_write_to_one_folder(tmp_path):
    first, second = Folder(tmp_path), Folder(tmp_path)
    for folder in (first, second, first, second):
        folder.write([SIDE], LINE, ())
    assert len({row["name"] for row in rows(tmp_path)}) == 4


# Reading


def test_any_file_of_a_recording_identifies_it(tmp_path):
    (meta,) = Folder(tmp_path).write([SIDE], LINE, ())
    stem = str(meta).removesuffix(".meta.json")
    found = [read_recording(Path(stem + suffix)) for suffix in (".meta.json", ".request.json", ".response.sse", "")]
    assert all(one == found[0] for one in found)
    assert (found[0].api, found[0].status, found[0].request, found[0].response) == ("chat", 200, SIDE.request, STREAM)


def test_the_corpus_can_be_read():
    found = recordings()
    if not found:
        pytest.skip(ABSENT)
    for one in found:
        read_one = read_recording(Path(f"{one.file}.meta.json"))
        assert (read_one.api, read_one.response, read_one.request) == (one.api, one.body, one.request)


def test_a_file_that_is_no_recording_is_refused(tmp_path):
    with pytest.raises(UnreadableRecording, match="no recording"):
        read_recording(tmp_path / "nothing.meta.json")
    (tmp_path / "x.meta.json").write_text('{"api": "cohere"}')
    with pytest.raises(UnreadableRecording, match="'cohere' is not an API"):
        read_recording(tmp_path / "x.meta.json")
    (tmp_path / "y.meta.json").write_text("{")
    with pytest.raises(UnreadableRecording, match=r"y\.meta\.json"):
        read_recording(tmp_path / "y.meta.json")


DAMAGED = {
    "half": b'{"api": "openai_chat", "sta', "bytes": b"\xff\xfe\x00", "array": b"[]", "deep": b'{"a":' * 9000,
    "status": b'{"status": "20"}', "no_status": b'{"status": 99}', "huge_status": b'{"status": 1e400}',
    "api": b'{"api": ["openai_chat"]}', "type": b'{"content_type": "text/event-stream\\nx: y"}',
    "headers": b'{"request_headers": []}', "name": b'{"request_headers": {"a b": "c"}}',
    "value": b'{"request_headers": {"a": "b\\r\\nc: d"}}', "null": b'{"request_headers": {"a": null}}',
    "surrogate": b'{"content_type": "\\ud800"}', "features": b'{"features": 1}',
}  # fmt: skip


@pytest.mark.parametrize("meta", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_recording_is_reported_and_not_sent(tmp_path, capsys, meta):
    folder = tmp_path / "openai_chat"
    folder.mkdir()
    for suffix, data in ((".meta.json", meta), (".request.json", b"{}"), (".response.sse", STREAM)):
        (folder / f"x{suffix}").write_bytes(data)
    file = folder / "x.meta.json"
    assert run(file, "http://127.0.0.1:1", None, None) == 2
    told = capsys.readouterr().err
    assert told.count("x.meta.json: the recording is damaged: ") == 1
    assert "Traceback" not in told


@given(st.binary(max_size=60))
def test_any_recording_file_is_read_or_reported(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("openai_chat").parent / "y.meta.json"
    file.write_bytes(data)
    with contextlib.suppress(UnreadableRecording):
        read_recording(file)


# Collection


class Desk:
    """A recorder over a ledger."""

    def __init__(self, folder: Path, secrets: tuple[str, ...] = ()) -> None:
        self.ledger = Ledger()
        self.recorder = Recorder(Folder(folder), secrets)
        observation_of(self.ledger).hooks += (self.observe,)

    def observe(self, record: Record, arrival: ArrivedRequest | None) -> recording.Recording | None:
        self.opened = self.recorder.observe(record, arrival)
        return self.opened

    def begin(
        self, body: bytes = b'{"model":"x"}', client: str | None = None, **headers: str
    ) -> tuple[Record, recording.Recording]:
        record = self.ledger.open("call", "chat")
        record.client = client
        self.opened.note_request(ClientRequest(tuple(headers.items()), "", None), body, is_turn=True)
        return record, self.opened

    def end(self, record: Record) -> None:
        self.ledger.settle(record, disconnected=False)

    async def write_all(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.recorder.run)
            await trio.testing.wait_all_tasks_blocked()
            await self.recorder.finish()


def request(**headers: str) -> UpstreamRequest:
    return UpstreamRequest("POST", "https://host/v1/chat/completions?key=in-the-query", tuple(headers.items()), b"{}")


async def test_a_recording_is_written_at_the_end_of_the_exchange(tmp_path):
    desk = Desk(tmp_path, ("of-the-config",))
    record, one = desk.begin(b'{"model":"x","user":"of-the-client"}', **{"x-api-key": "of-the-client"})
    one.note_sent(request(), False, "chat", "openai", lambda: ("of-the-provider",))
    one.observe(b"came of-the-prov", b"went")
    one.observe(b"ider of-the-config", b" on")
    one.note_response(200, (("content-type", "text/event-stream"),), None, is_answer=True)
    assert not list(tmp_path.rglob("*.meta.json"))
    desk.end(record)
    await desk.write_all()
    assert not desk.recorder.kept
    assert len(list(tmp_path.rglob("*.meta.json"))) == 2
    text = contents(tmp_path)
    assert b"went on" in text
    assert b"came [redacted] [redacted]" in text  # one credential arrived in two pieces
    for secret in (b"of-the-client", b"of-the-provider", b"of-the-config", b"in-the-query"):
        assert secret not in text


async def test_an_exchange_without_an_answer_takes_no_memory_and_is_not_written(tmp_path):
    """For example, a token count also sends requests to providers."""
    desk = Desk(tmp_path)
    record = desk.ledger.open("call", "chat")
    one = desk.opened
    one.note_sent(request(), False, "chat", "openai", tuple)
    one.note_head(request(), 200, ())
    one.note_body(request().identity, 200, b"counted")
    one.note_response(200, (("content-type", "application/json"),), b"{}", is_answer=True)
    assert not desk.recorder.kept
    desk.end(record)
    await desk.write_all()
    assert contents(tmp_path) == b""


@pytest.mark.parametrize("is_held", [False, True], ids=["", "held"])
async def test_only_the_last_of_several_provider_requests_is_kept(tmp_path, is_held):
    """Observers may also get both bodies at the end, as after steps."""
    desk = Desk(tmp_path)
    record, one = desk.begin()
    bodies = ((400, b"refused at first"), (200, b"answered then"))
    for status, body in bodies:
        one.note_sent(request(), False, "chat", "openai", tuple)
        one.note_head(request(), status, ())
        if not is_held:
            one.note_body(request().identity, status, body)
    for status, body in bodies if is_held else ():
        one.note_body(request().identity, status, body)
    one.note_response(200, (("content-type", "application/json"),), b"{}", is_answer=True)
    one.note_response(200, (), b"a turn in the background, later", is_answer=True)
    desk.end(record)
    await desk.write_all()
    text = contents(tmp_path)
    assert b"answered then" in text
    assert b"refused at first" not in text
    assert b"later" not in text


async def test_a_long_body_is_cut_and_the_meta_file_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "MOST", 10)
    desk = Desk(tmp_path)
    record, one = desk.begin(b"0123456789abcdef")
    one.note_response(400, (("content-type", "application/json"),), b"short", is_answer=True)
    desk.end(record)
    await desk.write_all()
    (meta,) = (json.loads(file.read_bytes()) for file in tmp_path.rglob("*.meta.json"))
    assert meta["notes"] == [f"{CUT_REQUEST[0]} at 10 bytes"]  # readers recognize such notes
    assert meta["bytes_exact"] is False
    (body,) = (file.read_bytes() for file in tmp_path.rglob("*.request.json"))
    assert body == b"0123456789"


async def test_a_recording_beyond_the_limit_is_dropped_and_counted(tmp_path, monkeypatch, caplog):
    """The client with the most bytes loses a recording, which may also be waiting to be written."""
    monkeypatch.setattr(recording, "HELD", 50)
    desk = Desk(tmp_path)
    small, _ = desk.begin(b"s" * 20, client="bob")
    ended, waiting = desk.begin(b"e" * 20, client="ann")
    desk.end(ended)
    large, one = desk.begin(b"l" * 29, client="ann")
    assert (waiting.is_dropped, one.is_dropped) == (True, False)
    one.observe(b"more", b"more")
    assert one.is_dropped
    one.observe(b"more", b"more")
    desk.end(large)
    desk.end(small)
    await desk.write_all()
    assert not desk.recorder.kept
    assert b"s" * 20 in contents(tmp_path)
    assert not re.search(b"lll|eee|more", contents(tmp_path))
    assert "2 exchanges were not recorded" in caplog.text


async def test_a_full_queue_delays_no_request(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "QUEUED", 2)
    desk = Desk(tmp_path)
    for _ in range(5):  # the writer has not started yet
        record, _one = desk.begin()
        desk.end(record)
    await desk.write_all()
    assert len(list(tmp_path.rglob("*.meta.json"))) == 2
    assert not desk.recorder.kept


@pytest.mark.parametrize("is_repaired", [True, False])
async def test_a_full_disk_ends_no_exchange_and_is_reported_once(is_repaired, tmp_path, caplog):
    desk = Desk(tmp_path)
    in_the_way = tmp_path / "openai_chat"
    in_the_way.write_text("")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.recorder.run)
        for _ in range(3):
            record, _one = desk.begin()
            desk.end(record)
        await eventually(lambda: not desk.recorder.kept)
        if is_repaired:
            in_the_way.unlink()
            record, _one = desk.begin()
            desk.end(record)
        await desk.recorder.finish()
    first, count = (one.getMessage() for one in caplog.records)
    assert first.startswith("could not record an exchange: ")
    assert count == "3 exchanges were not recorded: the disk or bucket failed"
    assert len(list(tmp_path.rglob("*.meta.json"))) == is_repaired


async def test_an_unused_recorder_can_be_finished(tmp_path):
    desk = Desk(tmp_path)
    record, _ = desk.begin()
    desk.end(record)
    await desk.recorder.finish()
    assert not list(tmp_path.rglob("*.meta.json"))


# Credentials


def test_every_credential_of_a_configuration_is_removed():
    settings: dict[str, Any] = {
        "version": "v0.3.0",
        "model_providers": [
            {"model": "openai/gpt-4o", "access_key": "key-of-openai"},
            {"model": "groq/llama", "headers": {"X-Auth-Token": "Bearer tok-of-groq", "x-note": "no secret"}},
            {"model": "vllm/m", "base_url": "http://h/v1?api_key=key%2Fin-a-url&api-version=2024-10-21&bare-in-a-url"},
        ],
        "state_storage": {"type": "postgres", "connection_string": "postgresql://me:pw-of-pg@db/trigate"},
    }
    found = secrets_in(from_mapping(settings))
    assert {"key-of-openai", "tok-of-groq", "pw-of-pg", "key%2Fin-a-url", "key/in-a-url", "bare-in-a-url"} < set(found)
    assert not {"no secret", "2024-10-21", "api_key"} & set(found)


def test_short_words_are_no_credentials_and_longer_ones_are_replaced_first():
    assert search_forms(["none", "a" * (SHORTEST - 1)]) == ()
    assert search_forms(["secret-1", "secret-12"]) == ("secret-12", "secret-1")
