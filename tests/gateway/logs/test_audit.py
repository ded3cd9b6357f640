"""The audit log: its destinations, a bounded number of lines, and no key in any line."""

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config_files.loading import ConfigError, from_mapping
from gateway.log_output.setup import Log
from gateway.logs.audit import ADDRESSES, LINES_PER_ADDRESS, LINES_PER_MINUTE, LONGEST, MINUTE, MOST, Audit
from gateway.logs.loggers import AUDIT
from tests.support.harness import eventually
from tests.support.own_log import flush_audit, own_log
from tests.support.set_clock import SetClock

BARE = {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o", "access_key": "key-of-the-account"}]}
OTHER = "198.51.100."


@pytest.fixture
def audit_lines() -> Iterator[list[dict[str, object]]]:
    """Yield the fields of the lines in the audit log."""
    found: list[dict[str, object]] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(getattr(record, AUDIT))
    log = logging.getLogger(AUDIT)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield found
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


def test_a_flood_from_one_address_is_a_handful_of_lines(audit_lines):
    clock = SetClock(0.0)
    audit = Audit(clock)
    for _ in range(10_000):
        audit.log_limited("key_refused", f"{OTHER}7", path="/v1/messages")
    assert len(audit_lines) == LINES_PER_ADDRESS
    assert audit_lines[0]["path"] == "/v1/messages"
    clock.now = MINUTE
    audit.log_limited("key_refused", f"{OTHER}8")
    assert [line.get("more") for line in audit_lines[LINES_PER_ADDRESS:]] == [10_000 - LINES_PER_ADDRESS, None]
    assert audit_lines[LINES_PER_ADDRESS]["address"] == f"{OTHER}7"


def test_a_flood_from_everywhere_is_a_bounded_number_of_lines(audit_lines):
    audit = Audit(SetClock(0.0))
    for number in range(20_000):
        audit.log_limited(("key_refused", "page_refused")[number % 2], f"10.0.{number >> 8}.{number & 255}")
    assert len(audit_lines) == LINES_PER_MINUTE
    assert len(audit._seen) <= ADDRESSES
    audit.summarise()
    assert len(audit_lines) <= 2 * LINES_PER_MINUTE + 2
    assert sum(line.get("more", 0) for line in audit_lines) == 20_000 - LINES_PER_MINUTE
    audit.summarise()
    assert len(audit_lines) <= 2 * LINES_PER_MINUTE + 2  # nothing new


def test_a_field_is_cut(audit_lines):
    Audit().log_event("page_refused", host="x" * 10_000, changes=("y" * 10_000,) * 1000, origin=None, added=())
    line = audit_lines[0]
    assert len(str(line["host"])) == LONGEST + 1
    assert len(line["changes"]) == MOST + 1
    assert line["changes"][-1] == f"+{1000 - MOST}"
    assert set(line) == {"event", "at", "worker", "host", "changes"}


# Destinations


@pytest.fixture
def stderr(monkeypatch) -> io.StringIO:
    """Replace standard error, and return the replacement."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    return sys.stderr


@pytest.fixture
def log(stderr) -> Iterator[Log]:
    """Yield the log of this process, as JSON, and restore the previous one."""
    with own_log():
        yield Log("error", "json", alone=False)


def lines(path: Path) -> list[dict[str, object]]:
    """Return the lines of a file once the audit has written all."""
    flush_audit()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_is_for_its_owner_alone_and_made_anew_when_it_was_moved_away(log, tmp_path, stderr):
    path, moved = tmp_path / "audit.log", tmp_path / "audit.log.1"
    log.apply_config(from_mapping({**BARE, "audit": str(path)}))
    audit = Audit()
    audit.log_event("ui_opened", path="/ui/key-of-the-account", client="a\u202eb")
    assert [line["event"] for line in lines(path)] == ["ui_opened"]
    path.rename(moved)
    audit.log_event("stopped")
    assert [line["event"] for line in lines(moved) + lines(path)] == ["ui_opened", "stopped"]
    assert "key-of" not in moved.read_text()
    assert "\\u202e" in moved.read_text()
    assert {file.stat().st_mode & 0o777 for file in (path, moved)} == {0o600}
    assert lines(path)[0]["worker"] == os.getpid()
    log.apply_config(from_mapping({**BARE, "audit": str(tmp_path / "another.log")}))
    audit.log_event("reloaded")
    assert len(lines(path)) == 1
    assert len(lines(tmp_path / "another.log")) == 1
    assert stderr.getvalue() == ""


def test_an_unwritable_audit_file_changes_nothing(log, tmp_path):
    log.apply_config(from_mapping({**BARE, "audit": str(tmp_path / "audit.log")}))
    with pytest.raises(OSError, match="No such file"):
        log.apply_config(from_mapping({**BARE, "audit": str(tmp_path / "nowhere/audit.log")}))
    Audit().log_event("reload_refused")
    assert len(lines(tmp_path / "audit.log")) == 1


def test_a_named_pipe_without_a_reader_is_an_unwritable_audit_file(log, tmp_path):
    os.mkfifo(tmp_path / "audit.log")
    with pytest.raises(OSError, match="No such device"):
        log.apply_config(from_mapping({**BARE, "audit": str(tmp_path / "audit.log")}))


def test_a_disk_that_refuses_lines_is_reported_and_used_again(log, tmp_path, stderr):
    (tmp_path / "audit.log").symlink_to("/dev/full")
    log.apply_config(from_mapping({**BARE, "audit": str(tmp_path / "audit.log")}))
    audit = Audit()
    audit.log_event("ui_opened")
    eventually(lambda: "could not write the audit: No space left on device" in stderr.getvalue())
    (tmp_path / "audit.log").unlink()
    audit.log_event("reloaded")
    after, lost = lines(tmp_path / "audit.log")
    assert after["event"] == "reloaded"
    assert lost["message"] == "1 lines of the log were lost, because the audit file was not writable"


def test_an_audit_file_gets_all_lines_before_its_replacement(log, tmp_path):
    files = [tmp_path / str(number) for number in range(10)]
    for file in files:
        log.apply_config(from_mapping({**BARE, "audit": str(file)}))
        for _ in range(100):
            Audit().log_event("ui_opened", path=str(file))
    for file in files:
        eventually(lambda file=file: [line["path"] for line in lines(file)] == [str(file)] * 100)


def test_the_audit_is_on_standard_error_at_every_log_level(log, stderr):
    log.apply_config(from_mapping({**BARE, "audit": "stderr", "log_level": "error"}))
    Audit().log_event("ui_opened", address=f"{OTHER}7")
    assert json.loads(stderr.getvalue())["address"] == f"{OTHER}7"


def test_without_an_audit_only_refused_keys_are_reported(log, stderr):
    log.apply_config(from_mapping(BARE))
    for event in ("ui_opened", "reloaded", "key_refused", "started"):
        Audit().log_event(event)
    assert [json.loads(line)["event"] for line in stderr.getvalue().splitlines()] == ["key_refused"]


def test_people_read_it_in_words(log, stderr, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr)  # which pytest has put back since
    logging.getLogger().handlers.clear()
    Log("info", "text", alone=False).apply_config(from_mapping({**BARE, "audit": "stderr"}))
    Audit().log_event("key_refused", address=f"{OTHER}7", path="/v1/\x1b[31mmessages")
    said = stderr.getvalue()
    assert "audit: key_refused, address 198.51.100.7, path /v1/\\u001b[31mmessages" in said


@pytest.mark.parametrize("place", ["", 7, ["stderr"]])
def test_an_invalid_audit_destination_is_a_mistake(place):
    with pytest.raises(ConfigError, match="audit"):
        from_mapping({**BARE, "audit": place})
