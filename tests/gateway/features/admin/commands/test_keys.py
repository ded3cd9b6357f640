"""``trigate keys``: its output, its errors with their reasons, and the variables that it does not need."""

import contextlib
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.features.admin.key_changes import MOST_KEYS
from tests.support.cases import case
from tests.support.command_line import Finished
from tests.support.finished_commands import reason_of

Keys = Callable[..., Finished]


SETTINGS = {
    "model_providers": [{"model": "openai/gpt-4o", "access_key": "$NOBODY_HAS_SET_THIS"}],
    "client_groups": [{"name": "search", "models": ["gpt-4o"]}],
    "client_keys": [{"name": "boss", "key": {"file": "/nowhere/that/can/be/read"}}],
}


def list_keys(keys: Keys) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(keys("list", "--json").stdout)}


def test_only_the_key_is_on_standard_output_and_only_the_secret_of_the_storage_is_needed(keys):
    limits = ("--budget", "20 usd/day", "--ratelimit", "requests=60/m")
    done = keys("add", "ci", "--group", "search", *limits, "--for", "30d")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"sk-trigate-\w{43}\n", done.stdout)
    assert "copy the key now" in done.stderr
    row = list_keys(keys)["ci"]
    assert (row["group"], row["budgets"], row["ratelimits"]) == ("search", ["20 usd/day"], {"requests": "60/m"})
    assert (row["from"], row["state"], list_keys(keys)["boss"]["from"]) == ("state storage", "good", "file")
    table = keys("list").stdout
    assert re.search(r"^name +from +state", table)
    assert re.search(r"^ci +state storage +good +search +gpt-4o +requests=60/m, 20 usd/day", table, re.MULTILINE)


def test_keys_add_prints_json_for_programs(keys):
    made = json.loads(keys("add", "ci", "--until", "2099-01-31", "--json").stdout)
    assert made["key"].startswith("sk-trigate-")
    assert made["until"] == "2099-02-01T00:00:00Z"
    turned = json.loads(keys("rotate", "ci", "--keep-old", "1h", "--json").stdout)
    assert turned["old_keys_until"] < made["until"] == turned["until"]


INVALID = [
    (("add", "boss"), "the file has a client with this name; give another name, or remove it from the file"),
    (("add", "taken"), "the client taken exists already: rotate its key"),
    (("add", " "), "the name is not valid"),
    (("add", "a\nb"), "the name is not valid"),
    (("add", "x", "--group", "serch"), "group: there is no group 'serch'; did you mean search?"),
    (("add", "x", "--models", "gpt-5"), "models\\[0\\]: 'gpt-5' is not a configured model"),
    (("add", "x", "--limit", "in_flight"), "--limit in_flight: expected NAME=AMOUNT, such as in_flight=8"),
    (("add", "x", "--ratelimit", "requests=fast"), "ratelimits.requests: 'fast'"),
    (("add", "x", "--budget", "lots"), "budgets\\[0\\]: 'lots'"),
    (("add", "x", "--until", "soon"), "--until: 'soon'; expected a date"),
    (("add", "x", "--until", "2020-01-01"), "x would expire in the past, on 2020-01-02T00:00:00Z"),
    (("add", "x", "--for", "long"), "--for: 'long'; expected a duration, such as 30d"),
    (("add", "x", "--for", "99999999999d"), "the duration is too long"),
    (("add", "x", "--for", "30"), "--for: 30 has no unit: write 30d, 30h or 30m"),
    (("rotate", "taken", "--keep-old", "24"), "--keep-old: 24 has no unit"),
    (("rotate", "taker"), "there is no stored client taker; did you mean taken?"),
    (("revoke", "boss"), "boss is not stored, but in .*c.yaml: change it there, and reload"),
]


def test_invalid_keys_commands_fail_with_advice(keys):
    keys("add", "taken")
    for args, says in INVALID:
        with case(args):
            assert re.search(says, reason_of(keys(*args)))
    assert set(list_keys(keys)) == {"boss", "taken"}


@pytest.mark.parametrize("storage", [None, {"type": "memory"}])
def test_without_a_key_storage_the_error_names_the_setting(keys, storage):
    said = reason_of(keys("list", state_storage=storage, stored_keys=None))
    assert "`type: sqlite`" in said
    assert "`stored_keys: true`" in said


def test_no_unusable_key_is_created(keys):
    assert "set `stored_keys: true`" in reason_of(keys("add", "ci", stored_keys=None))
    keys("add", "ci")
    assert keys("revoke", "ci", stored_keys=None).returncode == 0, "but one can always be taken out"


def test_a_new_file_is_reported_because_a_gateway_may_use_another(keys, tmp_path):
    for path, is_relative in ((str(tmp_path / "state.sqlite"), False), ("other.sqlite", True)):
        storage = {"type": "sqlite", "path": path}
        said = keys("list", state_storage=storage).stderr
        assert f"{tmp_path / path} does not exist, so this command creates it.\n" in said
        assert ("run the command in the directory of the gateway" in said) == is_relative
        assert "does not exist" not in keys("list", state_storage=storage).stderr


def test_a_variable_of_the_storage_is_needed(keys, tmp_path):
    said = reason_of(keys("list", state_storage={"type": "sqlite", "path": "$NOBODY_HAS_SET_THIS"}))
    assert "state_storage.path: the environment variable NOBODY_HAS_SET_THIS is not set" in said


def test_a_key_cannot_have_two_ends(keys):
    assert keys("add", "ci", "--until", "2099-01-01", "--for", "1d").returncode == 2


def test_old_keys_are_bounded_and_disappear_when_they_have_expired(keys):
    keys("add", "ci")
    for _ in range(MOST_KEYS - 1):
        assert keys("rotate", "ci").returncode == 0
    assert "wait until one expires" in reason_of(keys("rotate", "ci"))
    assert keys("rotate", "ci", "--keep-old", "0").returncode == 0
    assert len(list_keys(keys)["ci"]["keys"]) == 1


def test_keys_list_shows_keys_that_no_longer_fit_the_file(keys):
    keys("add", "ci", "--group", "search")
    rows = json.loads(keys("list", "--json", client_groups=None).stdout)
    (row,) = (one for one in rows if one["name"] == "ci")
    assert row["state"] == "refused"
    assert "there is no group 'search'" in row["why"]


def test_history_has_the_settings_before_and_after_each_change_and_for_whom_it_was_made(keys):
    key = keys("add", "ci", "--budget", "5 usd/day", "--group", "search", "--by", "alice@example.com").stdout.strip()
    keys("add", "other")
    limits = ("--budget", "9 usd/day", "--ratelimit", "requests=60/m")
    keys("set", "ci", *limits, "--without", "group", "--by", "ticket 4711")
    keys("rotate", "ci", "--by", "bob")
    keys("revoke", "ci")
    first = {"group": "search", "budgets": ["5 usd/day"]}
    last = {"budgets": ["9 usd/day"], "ratelimits": {"requests": "60/m"}}
    rows = json.loads(keys("history", "ci", "--json").stdout)
    assert [(one["event"], one["before"], one["after"]) for one in rows] == [
        ("added", None, first), ("changed", first, last), ("rotated", last, last), ("revoked", last, None),
    ]  # fmt: skip
    told = [re.fullmatch("(?:(.+) via )?.+@.+", one["by"]) for one in rows]
    assert [found and found[1] for found in told] == ["alice@example.com", "ticket 4711", "bob", None]
    assert told[-1] is not None, "whose command it was is never lost"
    assert key not in str(rows)
    _, added, changed, rotated, revoked = keys("history", "ci").stdout.splitlines()
    assert added.endswith("group - → search; budgets - → 5 usd/day")
    assert changed.endswith("group search → -; budgets 5 usd/day → 9 usd/day; ratelimits - → requests=60/m")
    assert rotated.endswith("  -")
    assert revoked.endswith("budgets 9 usd/day → -; ratelimits requests=60/m → -")
    shown = [line.split()[1] for line in keys("history", "ci", "--last", "2").stdout.splitlines()]
    assert shown == ["event", "rotated", "revoked"]
    assert "other" in keys("history").stdout
    assert "there is no change of a client cii; did you mean ci?" in reason_of(keys("history", "cii"))


def test_each_change_has_a_row_in_the_audit_without_the_key(keys, tmp_path):
    key = keys("add", "ci", "--budget", "5 usd/day", "--by", "alice").stdout.strip()
    keys("set", "ci", "--budget", "9 usd/day")
    turned = keys("rotate", "ci").stdout.strip()
    keys("revoke", "ci")
    (tmp_path / "table.csv").write_text(f"name,sha256\na,{'1' * 64}\nb,{'2' * 64}\n")
    assert keys("import", str(tmp_path / "table.csv")).returncode == 0
    assert keys("import", str(tmp_path / "table.csv")).returncode == 0, "skips both"
    assert keys("revoke", "nobody").returncode == 1
    rows = audit_rows(tmp_path)
    assert [row["path"] for row in rows] == [
        "trigate keys add ci", "trigate keys set ci", "trigate keys rotate ci", "trigate keys revoke ci",
        "trigate keys import a", "trigate keys import b",
    ]  # fmt: skip
    assert [(row["before"], row["after"]) for row in rows[:4]] == [
        (None, {"name": "ci", "budgets": ["5 usd/day"]}),
        ({"name": "ci", "budgets": ["5 usd/day"]}, {"name": "ci", "budgets": ["9 usd/day"]}),
        ({"name": "ci", "budgets": ["9 usd/day"]}, {"name": "ci", "budgets": ["9 usd/day"]}),
        ({"name": "ci", "budgets": ["9 usd/day"]}, None),
    ]
    assert rows[0]["who"].startswith("alice via ")
    assert {row["credential"] for row in rows} == {"command"}
    for secret in (key, turned):
        assert secret not in str(rows)
        assert hashlib.sha256(secret.encode()).hexdigest() not in str(rows)


def audit_rows(folder: Path) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(folder / "state.sqlite")) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM audit ORDER BY number")]
    return [{**row, **{at: row[at] and json.loads(row[at]) for at in ("before", "after")}} for row in rows]


@pytest.mark.parametrize("item", ["{", "[]", '{"client": 5}', '{"client": {"keys": 5}}'])
def test_foreign_rows_are_listed_and_can_be_revoked(keys, tmp_path, item):
    assert keys("add", "ci").returncode == 0
    name = "odd\x1b[31m"
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as database, database:
        database.execute("INSERT INTO client_keys (name, item) VALUES (?, ?)", (name, item))
    assert {id: row["state"] for id, row in list_keys(keys).items()} == {"boss": "good", "ci": "good", name: "refused"}
    assert r"odd\u001b[31m " in keys("list").stdout
    assert reason_of(keys("rotate", name))
    assert keys("revoke", name).returncode == 0
    assert set(list_keys(keys)) == {"boss", "ci"}
