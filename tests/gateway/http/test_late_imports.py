"""Modules that are imported with their first request, whose client may disconnect meanwhile."""

import sys

import pytest
import trio

from gateway.http.late_imports import load_module
from tests.support.harness import Wire, config, post, provider, running
from tests.support.raw_call import line, new_id
from tests.support.wire_clients import ALL, body_of, path_of


async def test_a_disconnect_cancels_no_import(monkeypatch, tmp_path):
    (tmp_path / "imported_late.py").write_text("value = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    with trio.CancelScope() as scope:
        scope.cancel()
        module = await load_module("imported_late")
        assert module.value == 1
    monkeypatch.delitem(sys.modules, "imported_late")


@pytest.mark.process
def test_the_first_requests_of_a_process_have_their_log_lines(upstream):
    """Their clients left after the headers, while the code of the route was imported."""
    requests = [(path_of(api, "m", stream=True), body_of(api, "m", stream=True)) for api in ALL]
    requests += [(f"/v1/{path}", {"model": "m", "input": "x"}) for path in ("embeddings", "moderations", "rerank")]
    with running(config([provider("openai/up", upstream.url, ["chat"], name="m")])) as gateway:
        for path, body in requests:
            id = new_id()
            head, _, _ = post(path, body, {"x-request-id": id}).partition(b"\r\n\r\n")
            with Wire.connect(gateway.port) as client:
                client.send(head + b"\r\n\r\n")
            found = line(gateway, id)
            assert (found["status"], found["ended"]) == (499, "client_disconnected"), path
