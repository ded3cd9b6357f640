"""Warnings of keys that others may guess or read; each may be intended."""

from typing import Any

from gateway.config.settings import ENOUGH
from gateway.config_files.loading import from_mapping, load
from gateway.config_reports.warnings import warnings_of
from tests.support.each_row import each_row
from tests.support.features import rows_of

ENTRY = {"model": "openai/gpt-4o", "access_key": "key-of-the-account"}
GOOD = "0123456789abcdef"
SIGNING = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_SIGNING = "HxECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def warnings(entry: dict[str, Any] | None = None, **root: Any) -> list[str]:
    content = {"version": "v0.3.0", "model_providers": [{**ENTRY, **(entry or {})}], **root}
    return list(warnings_of(from_mapping(content)))


def test_a_short_key_is_reported_and_not_shown():
    found = warnings(client_keys=[{"name": "alice", "key": "x"}, {"name": "bob", "key": GOOD}], ui_key="opensesame")
    assert [text.partition(" has")[0] for text in found] == ["ui_key", "client_keys: the key of alice"]
    assert f"fewer than {ENOUGH} characters" in found[0]
    assert "opensesame" not in found[0]
    assert not warnings(client_keys=[{"name": "alice", "sha256": "0" * 64}], ui_key=GOOD)


@each_row(
    ("key", "advice"),
    [
        ('"sk-proj-0123456789"', "remove them from its value"),
        ("'sk-proj-0123456789'", "remove them from its value"),
        ("Bearer sk-proj-0123456789", "remove the first word"),
        ("basic dXNlcjpw", "remove the first word"),
        ("OPENAI_API_KEY=sk-proj-0123456789", "keep only the text after `=`"),
    ],
)
def test_a_key_with_more_than_the_key_is_reported_and_not_shown(key, advice):
    (found,) = warnings({"access_key": key})
    assert found.endswith(f"which the provider would receive, too: {advice}")
    assert "sk-" not in found


@each_row("auth", ["authorization", {"chat": "authorization"}])
def test_a_key_that_is_a_whole_header_may_begin_with_a_scheme(auth):
    own = {"base_url": "https://llm.example", "speaks": {"chat": "chat"}, "auth": auth}
    entry = {"model": "own/m", "access_key": "Bearer 0123456789abcdef", "price": "free"}
    assert not warnings(entry, version="v0.4.0", providers={"own": own})


@each_row(
    ("url", "expected"),
    [
        ("http://provider.example/v1", True),
        ("http://10.0.0.7:8000/v1", True),
        ("https://provider.example/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("http://vllm:8000/v1", False),
        ("http://host.docker.internal:11434/v1", False),
        ("http://vllm.models.svc.cluster.local/v1", False),
    ],
)
def test_a_key_that_crosses_a_network_in_clear_is_reported(url, expected):
    assert any("unencrypted" in text for text in warnings({"base_url": url})) is expected
    assert not any("unencrypted" in text for text in warnings({"base_url": url, "access_key": None}))


@each_row(
    ("text", "mode", "expected"),
    [
        ("access_key: literal-key-0815", 0o644, True),
        ("access_key: literal-key-0815", 0o640, False),
        ("access_key: $ACCOUNT", 0o644, False),
        ("access_key: none", 0o644, False),
        ("headers: {authorization: Bearer literal-key-0815}", 0o644, True),
        ("name: a\nui_key: literal-key-of-the-operator", 0o644, True),
        ("name: a\nui_key: $ACCOUNT", 0o644, False),
        ("name: a\nmetrics_key: literal-key-of-the-operator", 0o644, True),
        (f"name: a\nsigning_key: {SIGNING}", 0o644, True),
        (f"name: a\nsigning_key: [$SIGNING, {SIGNING}]", 0o644, True),
        ("name: a\nsigning_key: $SIGNING", 0o644, False),
        (f"name: a\nstate_storage: {{type: sqlite, path: state.db, encryption_key: {SIGNING}}}", 0o644, True),
        ("name: a\ncounters: {type: redis, url: 'redis://redis.example:6379/0'}", 0o644, False),
        ("name: a\ncounters: {type: redis, url: 'redis://:literal-password@redis.example'}", 0o644, True),
        ("name: a\ncounters: {type: postgres, url: 'postgresql://db.example/d?password=literal'}", 0o644, True),
        ("name: a\nstate_storage: {type: postgres, connection_string: 'postgresql://a@db.example/d'}", 0o644, False),
        ("name: a\nstate_storage: {type: postgres, connection_string: 'host=db password=literal'}", 0o644, True),
        *rows_of("notices", ("name: a\nnotify: [{url: 'http://localhost:9000/'}]\nbudgets: [1 usd/day]", 0o644, False)),
        *rows_of(
            "notices", ("name: a\nnotify: [{url: 'https://a.example/secret'}]\nbudgets: [1 usd/day]", 0o644, True)
        ),
    ],
)
def test_a_file_with_keys_that_everybody_may_read_is_reported(tmp_path, text, mode, expected):
    path = tmp_path / "trigate.yaml"
    path.write_text(f"version: v0.3.0\nmodel_providers:\n  - model: openai/gpt-4o\n    {text}\n")
    path.chmod(mode)

    def is_reported() -> bool:
        found = warnings_of(load(path, {"ACCOUNT": "key-of-the-account", "SIGNING": OTHER_SIGNING}))
        return any("every user of this machine" in text for text in found)

    assert not is_reported()  # no other user gets into the folder
    opened = [folder for folder in path.parents if not folder.stat().st_mode & 0o001]
    modes = [folder.stat().st_mode for folder in opened]
    try:
        for folder in opened:
            folder.chmod(0o711)
        assert is_reported() is expected
    finally:
        for folder, before in zip(opened, modes, strict=True):
            folder.chmod(before)
