"""Secrets in files of their own: ``{file: PATH}`` in the place of a secret, and ``NAME_FILE`` for ``$NAME``, as the
official images of Docker have it (https://docs.docker.com/engine/swarm/secrets/)."""

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from configfile.secret_files import SecretFiles
from gateway.config_files.loading import Config, ConfigError, load
from tests.support.each_row import each_row
from tests.support.quick_yaml import dump_yaml

SECRET = "sk-of-the-provider-0123456789"
SEALING = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, text in {"secret": SECRET, "sealing": SEALING, "digest": hashlib.sha256(b"k").hexdigest()}.items():
        write(tmp_path / name, text + "\n")
    return tmp_path


def write(path: Path, text: str | bytes, mode: int = 0o600) -> None:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)


def read(folder: Path, env: dict[str, str] | None = None, files: SecretFiles | None = None, **more: Any) -> Config:
    content = {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o", **more.pop("entry", {})}], **more}
    file = folder / "trigate.yaml"
    file.write_text(dump_yaml(content, sort_keys=False))
    return load(file, {} if env is None else env, files=files)


def mistake(folder: Path, env: dict[str, str] | None = None, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, env, **more)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_every_secret_may_be_in_a_file_and_loses_its_final_line_break(folder):
    secret = {"file": str(folder / "secret")}
    config = read(
        folder,
        entry={"access_key": secret, "headers": {"x-token": secret}},
        client_keys=[
            {"name": "a", "key": secret},
            {"name": "b", "keys": [{"sha256": {"file": str(folder / "digest")}}]},
        ],
        ui_key=secret,
        state_storage={"type": "memory", "encryption_key": {"file": str(folder / "sealing")}},
    )
    (entry,) = config.entries
    assert (entry.key, dict(entry.headers)) == (SECRET, {"x-token": SECRET})
    digest = hashlib.sha256(SECRET.encode()).digest()
    assert [key.digest for client in config.client_keys for key in client.keys] == [
        digest,
        hashlib.sha256(b"k").digest(),
    ]
    assert config.ui_key == digest
    assert config.state_storage.encryption_key == (bytes(range(32)),)
    assert config.warnings == ()


def test_a_directory_of_credentials_is_named_by_its_variable(folder):
    entry = {"access_key": {"file": "$CREDENTIALS_DIRECTORY/secret"}}
    assert read(folder, {"CREDENTIALS_DIRECTORY": str(folder)}, entry=entry).entries[0].key == SECRET


def test_a_variable_that_is_not_set_is_looked_for_in_the_file_that_its_second_name_has(folder):
    entry = {"access_key": "Key $OPENAI_API_KEY"}
    env = {"OPENAI_API_KEY_FILE": str(folder / "secret")}
    assert read(folder, env, entry=entry).entries[0].key == f"Key {SECRET}"
    assert read(folder, {**env, "OPENAI_API_KEY": "own"}, entry=entry).entries[0].key == "Key own"


def test_without_an_environment_no_file_is_needed(tmp_path):
    file = tmp_path / "trigate.yaml"
    keys = [{"name": "a", "key": {"file": "/none/1"}}, {"name": "b", "key": {"file": "/none/2"}}]
    entry = {"model": "openai/gpt-4o", "access_key": {"file": "/none/3"}}
    file.write_text(dump_yaml({"version": "v0.3.0", "model_providers": [entry], "client_keys": keys}))
    assert [client.name for client in load(file, None).client_keys] == ["a", "b"]


def test_a_secret_file_is_read_once(folder):
    files = SecretFiles()
    entry = {"access_key": {"file": str(folder / "secret")}}
    read(folder, files=files, entry=entry)
    (folder / "secret").unlink()
    assert read(folder, files=SecretFiles(files.texts), entry=entry).entries[0].key == SECRET


@each_row(
    ("content", "words"),
    [
        (None, "no such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is not a valid secret"),
        (b"x" * 70_000, "is not a valid secret"),
        (b"two\nlines", "characters that headers cannot contain"),
    ],
    ids=["none", "empty", "a line break", "no text", "long", "two lines"],
)
def test_a_file_that_is_no_secret_is_a_mistake_with_its_place(tmp_path, content, words):
    if content is not None:
        write(tmp_path / "key", content)
    said = mistake(tmp_path, entry={"access_key": {"file": str(tmp_path / "key")}})
    assert f"{tmp_path}/trigate.yaml:4:3: model_providers[0].access_key: " in said
    assert words in said


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_directory_is_no_secret(tmp_path, make):
    """A pipe without a writer does not block. Docker makes a directory in place of a missing file."""
    make(tmp_path / "key")
    assert "is not a file" in mistake(tmp_path, entry={"access_key": {"file": str(tmp_path / "key")}})


def test_a_file_after_a_variable_is_named_by_the_variable(tmp_path):
    entry = {"access_key": {"file": f"${{WHERE}}/{'x'}"}}
    assert "cannot read the file ${WHERE}/x" in mistake(tmp_path, {"WHERE": f"/{SECRET}"}, entry=entry)
    said = mistake(tmp_path, {"KEY_FILE": f"/{SECRET}"}, entry={"access_key": "$KEY"})
    assert "cannot read the file that KEY_FILE names" in said


@each_row(
    ("entry", "words"),
    [
        ({"access_key": {"file": 5}}, "access_key: not text"),
        ({"access_key": {"file": "/x", "mode": 1}}, "access_key: not text"),
        ({"http_host": {"file": "/x"}}, "http_host: a mapping"),
        ({"base_url": {"file": "/x"}}, "base_url: a mapping"),
    ],
)
def test_only_a_secret_may_be_in_a_file(tmp_path, entry, words):
    assert words in mistake(tmp_path, entry=entry)


def test_a_header_may_be_called_file(tmp_path):
    assert dict(read(tmp_path, entry={"access_key": "k", "headers": {"file": "x"}}).entries[0].headers) == {"file": "x"}


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_others_can_read_is_a_warning(folder, mode, warned):
    (folder / "secret").chmod(mode)
    config = read(folder, entry={"access_key": {"file": str(folder / "secret")}})
    assert any("every user of this machine can read" in warning for warning in config.warnings) is warned
