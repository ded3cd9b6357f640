"""``trigate keys import FILE.csv``: clients and hashes of keys, in trigate's columns and in those of LiteLLM.

LiteLLM's columns are those of its table LiteLLM_VerificationToken
(https://github.com/BerriAI/litellm/blob/main/schema.prisma)."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cases import case
from tests.support.command_line import Finished
from tests.support.finished_commands import good, reason_of

Keys = Callable[..., Finished]
A, B, C = "a" * 64, "B" * 64, "c" * 64


ENTRY = {"access_key": "k", "price": {"input": 1, "output": 2}}
SETTINGS = {
    "model_providers": [{"model": "openai/gpt-4o", **ENTRY}, {"model": "openai/gpt-5", **ENTRY}],
    "client_groups": [{"name": "search"}, {"name": "team-1"}],
    "client_keys": [{"name": "boss", "sha256": "b" * 64}],
}


@pytest.fixture
def import_table(keys, tmp_path) -> Callable[..., Finished]:
    """Return a function that imports a table of these lines."""

    def run(*lines: str, names: tuple[str, ...] = (), ending: str = "\n") -> Finished:
        file = tmp_path / "keys.csv"
        file.write_bytes("".join(f"{line}{ending}" for line in lines).encode())
        return keys("import", str(file), *names)

    return run


def rows(keys: Keys) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(good(keys("list", "--json"))) if row["from"] != "file"}


def report_of(result: Finished) -> str:
    assert result.returncode == 0, result.stderr
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_clients_are_stored_with_all_their_settings(keys, import_table, ending):
    result = import_table(
        "\ufeffname,sha256,group,models,budgets,until",
        f'ci,{A},search,"gpt-4o,gpt-5",20 usd/day; 100 usd/month,2099-01-31',
        f"plain,{C},,,,",
        ending=ending,
    )
    assert "Stored 2 clients; the keys stay the same." in report_of(result)
    found = rows(keys)
    assert (found["ci"]["group"], found["ci"]["models"]) == ("search", ["gpt-4o", "gpt-5"])
    assert (found["ci"]["budgets"], found["ci"]["until"]) == (["20 usd/day", "100 usd/month"], "2099-02-01T00:00:00Z")
    assert (found["plain"]["models"], found["plain"]["until"], found["plain"]["group"]) == (None, None, None)


@pytest.mark.parametrize(
    ("column", "meant"), [("model", "models"), ("budget", "budgets"), ("grup", "group"), ("Until", "until")]
)
def test_a_misspelled_column_stores_nothing(keys, import_table, column, meant):
    """Otherwise, the clients of the table would have no such limit."""
    result = import_table(f"name,sha256,{column}", f"ci,{A},gpt-4o")
    assert f"unknown column `{column}`: did you mean `{meant}`? Rename or remove it" in reason_of(result)
    assert rows(keys) == {}


def test_a_dump_of_litellm_is_read_by_its_own_names(keys, import_table):
    result = import_table(
        "token,key_alias,team_id,models,max_budget,budget_duration,rpm_limit,expires,spend,metadata,blocked,allowed_routes",
        f"{A},ci,team-1,{{gpt-4o}},100,1mo,60,2099-01-31 00:00:00+00,12.5,{{}},f,{{llm_api_routes}}",
        f"{C},,,{{all-proxy-models}},,,,,0,{{}},,",
    )
    assert "Columns that changed nothing: spend, metadata, allowed_routes." in report_of(result)
    found = rows(keys)
    assert (found["ci"]["group"], found["ci"]["models"], found["ci"]["budgets"]) == (
        "team-1", ["gpt-4o"], ["100 usd/month"],
    )  # fmt: skip
    assert (found["ci"]["ratelimits"], found["ci"]["until"]) == ({"requests": "60/m"}, "2099-01-31T00:00:00Z")
    assert found["key-cccccccc"]["models"] is None


SKIPPED = "Skipped, because they are blocked, have expired, or have an exhausted budget or a limit of 0"


def test_blocked_and_expired_keys_are_skipped(keys, import_table):
    result = import_table(
        "token,key_alias,blocked,expires", f"{A},blocked,true,", f"{C},expired,f,2020-01-01T00:00:00",
        f"{'d' * 64},good,f,",
    )  # fmt: skip
    assert f"{SKIPPED}: blocked, expired." in report_of(result)
    assert rows(keys).keys() == {"good"}


@pytest.mark.parametrize(
    "limits",
    [
        ("0", "", "", "", "0", ""), ("", "0", "", "", "0", ""), ("", "", "0", "30d", "0", ""),
        ("", "", "5", "30d", "5", "2999-01-01T00:00:00"), ("", "", "5", "", "6", ""),
    ],
)  # fmt: skip
def test_keys_that_litellm_rejects_because_of_their_limits_are_skipped(keys, import_table, limits):
    """An emptied cell would make a closed key an open one."""
    header = "token,key_alias,rpm_limit,max_parallel_requests,max_budget,budget_duration,spend,budget_reset_at"
    good = f"{C},good,5,5,5,30d,5,2020-01-01T00:00:00"
    result = import_table(header, f"{A},closed,{','.join(limits)}", good)
    assert f"{SKIPPED}: closed." in report_of(result)
    assert rows(keys).keys() == {"good"}


def test_names_select_rows_and_stored_ones_are_skipped(keys, import_table):
    lines = ("name,sha256", f"ci,{A}", f"other,{C}")
    assert "Stored 1 client;" in report_of(import_table(*lines, names=("ci",)))
    assert "already: ci." in report_of(import_table(*lines))
    assert "no client with the name nobody" in reason_of(import_table(*lines, names=("nobody",)))


def test_an_import_next_to_many_clients_is_as_fast_as_the_first(import_table):
    def cpu_seconds(start: int) -> float:
        lines = ("name,sha256", *(f"client-{at},{at:064x}" for at in range(start, start + 300)))
        before = time.process_time()
        assert "Stored 300 clients;" in report_of(import_table(*lines))
        return time.process_time() - before

    first = cpu_seconds(0)
    assert cpu_seconds(300) < 3 * first + 1


BAD = [
    (("ci," + A,), "no header line"),
    (("name,group", "ci,search"), "no header line with the column `sha256` or `token`"),
    (("name,key_alias,sha256", f"ci,ci,{A}"), "name and key_alias mean the same"),
    (("name,sha256", f"ci,{A}", "bad,123"), "keys.csv, line 3: the digest"),
    (("name,sha256", f"ci,{A}", f"ci,{C}"), "keys.csv, line 3: line 2 has the same name ci"),
    (("name,sha256", f"ci,{A}", f"cd,{A}"), "keys.csv, line 3: cd and ci have the same key"),
    (("name,sha256", f"ci,{A}", f"boss2,{'b' * 64}"), "keys.csv, line 3: boss2 and boss have the same key"),
    (("name,sha256", f"ci,{A}", f"cd,{C},more"), "keys.csv, line 3: expected as many cells as in the header line, 2"),
    (("name,sha256,group", f"ci,{A}"), "keys.csv, line 2: expected as many cells as in the header line, 3"),
    (("name,sha256,group", f"ci,{A},", f"cd,{C},nobody"), "keys.csv, line 3: `group`: there is no group"),
    (("name,sha256,models", f"ci,{A},gpt-9"), "keys.csv, line 2: `models[0]`"),
    (("name,sha256,budgets", f"ci,{A},lots"), "keys.csv, line 2: `budgets[0]`"),
    (("name,sha256,until", f"ci,{A},soon"), "keys.csv, line 2: `until`"),
    (("name,sha256,until", f"ci,{A},2020-01-01"), "keys.csv, line 2: ci would expire in the past"),
    (("token,expires", f"{A},soon"), "keys.csv, line 2: `expires` cannot be read"),
    (("token,blocked", f"{A},perhaps"), "keys.csv, line 2: its `blocked` is neither true nor false"),
    (("token,max_budget", f"{A},5"), "keys.csv, line 2: the limit in `max_budget` cannot be read: a budget needs"),
    (("token,rpm_limit", f"{A},many"), "keys.csv, line 2: the limit in `rpm_limit` cannot be read"),
    (("token,model_max_budget", f'{A},"{{""gpt-4o"": 5}}"'), "trigate has no setting `model_max_budget` of a key"),
    (("token,aliases", f'{A},"{{""gpt-4"": ""gpt-5""}}"'), "trigate has no setting `aliases` of a key"),
    (("token,budget_id", f"{A},b"), "trigate has no setting `budget_id` of a key"),
    (("name,sha256",), "no row below its header line"),
    ((), "no header line"),
    (("name,sha256", f'"ci,{A}'), "cannot read"),
]


def test_nothing_is_stored_if_a_row_cannot_be_read(keys, import_table):
    for lines, says in BAD:
        with case(lines):
            assert says in reason_of(import_table(*lines))
    assert rows(keys) == {}


def test_a_file_that_is_not_text_is_refused(keys, tmp_path):
    (tmp_path / "keys.csv").write_bytes(b"\xff\xfe\x00")
    assert "cannot read" in reason_of(keys("import", str(tmp_path / "keys.csv")))
