"""Recordings on disk, read by other programs than their writer."""

import os

import attrs
import pytest

from gateway.features.recording.recorded import Folder, Side
from providers.recordings import CUT_REQUEST, client_meta_files, read_recording

LINE = {"ended": "complete", "model": "m"}
CLIENT = Side(
    "client", "messages", "/v1/messages", b'{"model":"m","messages":[]}', b"{}", 200,
    "application/json", (("anthropic-beta", "x"),), (("retry-after", "1"),), None,
)  # fmt: skip
PROVIDER = attrs.evolve(CLIENT, side="provider", api="chat", path="/v1/chat/completions", provider="openai")
GEMINI = attrs.evolve(CLIENT, api="gemini", path="/v1beta/models/gemini-2.5:streamGenerateContent",
                      request=b'{"contents":[]}')  # fmt: skip


def test_only_client_requests_are_found_in_recordings(tmp_path):
    for sides in ([PROVIDER, CLIENT], [GEMINI], [attrs.evolve(CLIENT, status=429)]):
        Folder(tmp_path).write(sides, LINE, ())
    found = [read_recording(file) for file in client_meta_files(tmp_path)]
    assert [(one.api, one.status, one.model, one.stream) for one in found] == [
        ("messages", 200, "m", False), ("gemini", 200, "gemini-2.5", True), ("messages", 429, "m", False),
    ]  # fmt: skip
    assert found[0].headers == (("anthropic-beta", "x"),)
    assert found[0].request == CLIENT.request
    assert not any(one.is_cut for one in found)


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
    assert not read_recording(other).is_of_client


@pytest.mark.parametrize("note", CUT_REQUEST)
def test_a_truncated_body_is_reported(tmp_path, note):
    (meta,) = Folder(tmp_path).write([attrs.evolve(CLIENT, notes=(f"{note} at 4194304 bytes",))], LINE, ())
    assert read_recording(meta).is_cut
