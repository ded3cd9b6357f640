"""Recordings on disk, read by other programs than their writer."""

import json
import os
from datetime import UTC, datetime

import attrs
import pytest

from gateway.features.recording.recorded import Folder, Side
from providers.recordings import CUT_REQUEST, UnreadableRecording, client_meta_files, read_client_request

LINE = {"ended": "complete", "model": "m", "at": "2026-11-22T08:00:05Z", "duration_ms": 2500}
CLIENT = Side(
    "client", "messages", "/v1/messages", b'{"model":"m","messages":[]}', b"{}", 200,
    "application/json", (("anthropic-beta", "x"),), (("retry-after", "1"),), None,
)  # fmt: skip
PROVIDER = attrs.evolve(CLIENT, side="provider", api="chat", path="/v1/chat/completions", provider="openai")
GEMINI = attrs.evolve(CLIENT, api="gemini", path="/v1beta/models/gemini-2.5:streamGenerateContent",
                      request=b'{"contents":[]}')  # fmt: skip


def test_only_client_requests_are_found_in_recordings(tmp_path):
    for number, sides in enumerate(([PROVIDER, CLIENT], [GEMINI], [attrs.evolve(CLIENT, status=429)])):
        Folder(tmp_path).write(sides, LINE, (), began=1000.25 + number)
    found = [request for file in client_meta_files(tmp_path) if (request := read_client_request(file))]
    assert [(one.api, one.status, one.began, one.model, one.stream) for one in found] == [
        ("messages", 200, 1000.25, "m", False),
        ("gemini", 200, 1001.25, "gemini-2.5", True),
        ("messages", 429, 1002.25, "m", False),
    ]
    assert found[0].headers == (("anthropic-beta", "x"),)
    assert found[0].body.read_bytes() == CLIENT.request
    assert not any(one.cut for one in found)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")
@pytest.mark.parametrize("planted", ["shared/made", "shared/made/deeper"])
def test_a_folder_that_another_user_made_in_a_shared_directory_is_refused(tmp_path, planted):
    (tmp_path / "shared" / "made").mkdir(parents=True)
    (tmp_path / "shared").chmod(0o1777)
    Folder(tmp_path / planted)
    os.chown(tmp_path / "shared" / "made", 12345, 12345)
    with pytest.raises(PermissionError, match="another user"):
        Folder(tmp_path / planted)


def test_the_side_of_a_provider_is_also_identified_by_its_meta_file(tmp_path):
    (meta,) = Folder(tmp_path).write([PROVIDER], LINE, ())
    other = meta.rename(meta.with_name("theirs.meta.json"))
    assert list(client_meta_files(tmp_path)) == [other]
    assert read_client_request(other) is None


def test_a_missing_start_time_follows_from_the_end(tmp_path):
    (meta,) = Folder(tmp_path).write([CLIENT], LINE, ())
    found = read_client_request(meta)
    assert found.began == datetime(2026, 11, 22, 8, 0, 2, 500_000, UTC).timestamp()
    for without in ({**LINE, "at": "soon"}, {name: value for name, value in LINE.items() if name != "at"}):
        meta.write_bytes(json.dumps({"exchange": without}).encode())
        assert read_client_request(meta).began is None


@pytest.mark.parametrize("note", CUT_REQUEST)
def test_a_truncated_body_is_reported(tmp_path, note):
    (meta,) = Folder(tmp_path).write([attrs.evolve(CLIENT, notes=(f"{note} at 4194304 bytes",))], LINE, ())
    assert read_client_request(meta).cut


def test_an_unreadable_recording_is_reported_by_name(tmp_path):
    (meta,) = Folder(tmp_path).write([CLIENT], LINE, ())
    for damaged in (b"{", b'{"features": 1}', b'{"api": "soap"}', b'{"request_headers": {"a b": "c"}}'):
        meta.write_bytes(damaged)
        with pytest.raises(UnreadableRecording, match=meta.name):
            read_client_request(meta)
    meta.unlink()
    with pytest.raises(UnreadableRecording, match="does not exist any more"):
        read_client_request(meta)
