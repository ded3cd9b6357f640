"""Recordings in object stores, by the vendors' own clients against a server on this machine."""

import json
import sys
import time
from collections.abc import Iterator

import pytest

from gateway.commands.serve import can_record
from gateway.features.recording import buckets, opening
from gateway.features.recording.buckets import Bucket
from providers.recordings import read_recording
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, config, eventually, provider
from tests.support.object_store import ObjectStore, object_store
from tests.support.upstreams import PATHS, Script

KEY = "sk-not-to-be-told"


@pytest.fixture
def store(monkeypatch) -> Iterator[ObjectStore]:
    pytest.importorskip("google.cloud.storage", reason="the extra gcs is not installed")
    with object_store() as found:
        for name, value in {
            "AWS_ENDPOINT_URL_S3": found.url, "STORAGE_EMULATOR_HOST": found.url, "AWS_ACCESS_KEY_ID": "ID",
            "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-1", "AWS_MAX_ATTEMPTS": "1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield found


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_recordings_in_a_bucket_are_the_same_as_in_a_folder(store, upstream, tmp_path, scheme):
    settings = config([provider("openai/on-chat", upstream.url, ["chat"], key=KEY)])
    body = {"model": "on-chat", "messages": [{"role": "user", "content": f"hi, {KEY}"}]}
    with gateway_thread(settings, record=f"{scheme}://logs/of/trigate/") as gateway:
        upstream.script(*[Script(text="one two three")] * 12)
        for number in range(12):
            reply = gateway.request("POST", PATHS["chat"], body, {"x-request-id": f"r-{number}"})
            assert reply.status == 200

        def client_metas() -> list[str]:
            return [one for one in store.objects if "-client." in one and one.endswith(".meta.json")]

        eventually(lambda: len(client_metas()) == 12, what="the recordings")
        metas = client_metas()
    assert KEY not in str(store.objects)
    assert all(name.startswith("logs/of/trigate/") for name in store.objects)
    for name, data in store.objects.items():  # as `aws s3 sync` or `gcloud storage rsync` copies them
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert {json.loads(store.objects[one])["exchange"]["request_id"] for one in metas} == {f"r-{n}" for n in range(12)}
    assert all(b"one two three" in read_recording(tmp_path / one).response for one in metas)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_bucket_that_refuses_is_reported_at_the_start_and_ends_no_exchange(store, upstream, capsys, scheme):
    target = f"{scheme}://logs"
    settings = config([provider("openai/on-chat", upstream.url, ["chat"], key=KEY)])
    with gateway_thread(settings, record=target) as gateway:
        store.refuses = True
        upstream.script(Script(text="one"))
        body = {"model": "on-chat", "messages": [{"role": "user", "content": "hi"}]}
        assert gateway.request("POST", PATHS["chat"], body).status == 200
        eventually(lambda: any("could not record an exchange" in line for line in gateway.log))
    assert not can_record(target)
    assert f"--record {target}: " in (said := capsys.readouterr().err)
    assert "give a writable directory or bucket" in said


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_silent_bucket_does_not_keep_the_gateway_from_ending(store, upstream, monkeypatch, scheme):
    monkeypatch.setattr(opening, "FINISH_SECONDS", 0.1)
    settings = config([provider("openai/on-chat", upstream.url, ["chat"], key=KEY)])
    with gateway_thread(settings, record=f"{scheme}://logs") as gateway:
        store.responds.clear()
        upstream.script(Script(text="one"))
        body = {"model": "on-chat", "messages": [{"role": "user", "content": "hi"}]}
        assert gateway.request("POST", PATHS["chat"], body).status == 200
        assert store.has_waited.wait(PATIENCE)
    assert any("the last recordings are not written" in line for line in gateway.log)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_silent_bucket_is_reported_at_the_start(store, monkeypatch, capsys, scheme):
    monkeypatch.setattr(buckets, "OPEN_SECONDS", 1.0)
    store.responds.clear()
    try:
        begun = time.monotonic()
        assert not can_record(f"{scheme}://logs")
        assert time.monotonic() - begun < PATIENCE
    finally:
        store.responds.set()
    assert f"--record {scheme}://logs: TimeoutError: no response within 1 s" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["s3://", "s3:///prefix", "az://bucket"])
def test_another_address_is_a_mistake(place, capsys):
    assert not can_record(place)
    assert "expected a directory, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX" in capsys.readouterr().err


def test_a_missing_client_is_reported_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(LookupError, match=r"pip install 'trigate\[aws\]'"):
        Bucket("s3://logs")
