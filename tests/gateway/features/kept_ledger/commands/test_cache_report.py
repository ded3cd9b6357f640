"""``trigate cache`` over the kept ledger: a table, CSV and JSON with the sums of the verdicts, and advice."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.commands import tables
from gateway.features.kept_ledger.commands import cache_report
from gateway.features.kept_ledger.line import LedgerLine
from streams.events import Usage
from tests.support.command_line import invoke
from tests.support.ledger_lines import AT, DAY, attempt, line, random_line_with_verdicts, verdict

ENTRY = {"model": "anthropic/claude-sonnet-4-6", "access_key": "$NOBODY_HAS_SET_THIS"}
EVER = "2026-01-01"
DOLLAR = 10**9
KINDS = ("key", "group", "model", "target", "run", "cause", "day")


def report(capsys, config: Path, *by: str, form: Any = "table", **more: Any) -> str:
    assert cache_report.run(config, by=by, since=more.pop("since", EVER), form=form, **more) == cache_report.GOOD
    return capsys.readouterr().out


def turn(client: str, found: dict[str, Any], written: int = 0, **more: Any) -> LedgerLine:
    usage = Usage(1000, found["verdict"].read or 0 if found else 0, written)
    model = "anthropic/claude-sonnet-4-6"
    return line(attempt(5, "claude", model=model, usage=usage, **found), client=client, **more)


BROKEN = turn("nightly", verdict(51_200, 49_280, ("system", 49_280, 3_170_016_000)), 49_310)
MOVED = turn("nightly", verdict(40_000, 40_000, ("moved", 38_000, DOLLAR // 2), ("small", 2000, 0)))
GOOD = turn("alice", verdict(60_000, 600))


def test_the_table_has_readable_tokens_and_the_causes_of_misses(write_ledger, capsys):
    lines = report(capsys, write_ledger(BROKEN, MOVED, GOOD, turn("ben", {})), "key").splitlines()
    assert [text.split()[:6] for text in lines[2:5]] == [
        ["key", "input", "could", "read", "share", "lost"],
        ["nightly", "53.2k", "91.2k", "1920", "2%", "$3.67"],
        ["alice", "60.4k", "60.0k", "59.4k", "99%", "$0.00"],
    ]
    assert lines[2].endswith("usd  because")
    assert lines[3].endswith("system 3.17, moved 0.50, small 2000 tokens")
    assert lines[6].split() == ["total", "113.6k", "151.2k", "61.3k", "40%", "$3.67"]
    assert "ben" not in "".join(lines), "no prompt of it could be read from a cache"


def test_causes_can_be_rows(write_ledger, capsys):
    lines = report(capsys, write_ledger(BROKEN, MOVED, GOOD), "cause").splitlines()
    assert [text.split() for text in lines[2:6]] == [
        ["cause", "missed", "lost", "usd"],
        ["system", "49.3k", "$3.17"],
        ["moved", "38.0k", "$0.5000"],
        ["small", "2000", "$0.00"],
    ]
    rows = list(csv.DictReader(report(capsys, write_ledger(), "day", "cause", form="csv").splitlines()))
    assert [rows[0][name] for name in ("day", "cause", "lost_usd")] == ["2026-09-21", "system", "3.170016000"]


@pytest.mark.parametrize("by", KINDS)
def test_csv_and_json_are_exact_by_every_column(write_ledger, capsys, by):
    draw = random.Random(5)
    lines = [random_line_with_verdicts(draw) for _ in range(200)]
    attempts = [one for line in lines for one in line.attempts]
    verdicts = [one.verdict for one in attempts if one.verdict is not None]
    nanos = sum(one.loss.nanos for one in attempts if one.loss is not None)
    tokens = sum(cause.tokens for one in verdicts for cause in one.causes)
    config = write_ledger(*lines)
    rows = list(csv.DictReader(report(capsys, config, by, form="csv").splitlines()))
    assert sum(int(row["lost_usd"].replace(".", "")) for row in rows) == nanos
    found = json.loads(report(capsys, config, by, form="json"))
    assert sum(row["lost_nanos"] for row in found["rows"]) == found["total"]["lost_nanos"] == nanos
    assert sum(one["missed_tokens"] for one in found["total"]["causes"]) == tokens
    missed = sum(one.missed for one in verdicts)
    assert found["total"]["could_tokens"] == sum(one.could for one in verdicts)
    assert found["total"]["read_tokens"] == sum(one.read or 0 for one in verdicts)
    assert found["total"]["missed_tokens"] == missed
    if by != "cause":
        assert sum(int(row["missed"]) for row in rows) == missed
        assert sum(one["lost_nanos"] for row in found["rows"] for one in row["causes"]) == nanos
    else:
        assert sum(int(row["missed"]) for row in rows) == tokens


def test_a_day_with_verdicts_is_a_row_in_order(write_ledger, capsys):
    later = turn("nightly", verdict(5000, 5000, ("tools", 5000, 9 * DOLLAR)), began=AT + DAY)
    found = json.loads(report(capsys, write_ledger(BROKEN, later), "day", form="json"))
    assert [(row["day"], row["causes"][0]["cause"]) for row in found["rows"]] == [
        ("2026-09-21", "system"), ("2026-09-22", "tools"),
    ]  # fmt: skip


def test_tokens_that_the_provider_did_not_report_are_no_share(write_ledger, capsys):
    """A provider without cached counts would otherwise look like a broken cache."""
    silent = verdict(50_000, 0, ("unknown", 0, 0), grade=None, read=None)
    (row,) = json.loads(report(capsys, write_ledger(turn("ann", silent)), "key", form="json"))["rows"]
    assert (row["could_tokens"], row["read_tokens"], row["share"]) == (50_000, 0, None)
    shown = report(capsys, write_ledger(), "key").splitlines()[3]
    assert (shown.split()[4], shown.endswith("  unknown (no count)")) == ("-", True)


def test_estimates_and_missing_prices_are_marked(write_ledger, capsys):
    free = turn("local", verdict(9000, 9000, ("tools", 9000, 0), grade=None))
    estimated = turn("ann", verdict(9000, 9000, ("history", 9000, DOLLAR), grade="estimated"))
    text = report(capsys, write_ledger(free, estimated), "key")
    assert "≥$0.00  tools 9000 tokens" in text
    assert "~$1.00  history 1.00" in text
    assert "~ estimated: token counts or prices are estimates" in text


def test_advice_states_the_first_fix_of_each_client(write_ledger, capsys):
    other = turn("zoe", verdict(9000, 9000, ("tools", 9000, DOLLAR)))
    text = report(
        capsys, write_ledger(BROKEN, MOVED, other, turn("bot", verdict(9000, 9000, ("provider", 9000, DOLLAR)))), "key"
    )
    assert [one for one in text.splitlines() if one.startswith("advice")] == [
        "advice: nightly: system cost 3.17 of 3.67 usd: move changing text from the system prompt to the newest "
        "message",
        "advice: zoe: tools cost 1.00 of 1.00 usd: send the same tools in the same order in each turn",
    ]
    found = json.loads(report(capsys, write_ledger(), "key", form="json"))
    assert len(found["advice"]) == 2


def test_advice_compares_lifetimes_by_the_gaps_of_the_period(write_ledger, capsys):
    """Writing for an hour costs twice the input instead of 1.25 times."""
    gaps = (400, 1200, 3000, 9000)
    lines = [turn("ann", verdict(20_000, 20_000, ("expired", 20_000, DOLLAR), idle=gap), 100_000) for gap in gaps]
    text = report(capsys, write_ledger(*lines), "key")
    assert "advice: ann: 3 of 4 expiries came within an hour; 1h marks: +0.90 usd, saving 3.00 usd" in text


def test_entries_that_were_never_read_have_their_price(write_ledger, capsys):
    """Writing adds it, and the first reading subtracts it. Readings of earlier entries leave nothing below 0."""
    wrote, read = (turn("nightly", verdict(9000, 0, grade=None, unread=nanos)) for nanos in (4 * DOLLAR, -DOLLAR))
    before = turn("alice", verdict(9000, 0, grade=None, unread=-DOLLAR))
    once = turn("oneshot", verdict(0, 0, grade=None, unread=DOLLAR // 2))
    config = write_ledger(wrote, read, before, once)
    assert "unread writes: nightly 3.00 usd, oneshot 0.50 usd" in report(capsys, config, "key").splitlines()
    found = {row["key"]: row for row in json.loads(report(capsys, config, "key", form="json"))["rows"]}
    assert {name: row["unread_nanos"] for name, row in found.items()} == {
        "nightly": 3 * DOLLAR, "alice": 0, "oneshot": DOLLAR // 2,
    }  # fmt: skip
    rows = {
        row["key"]: row["unread_usd"] for row in csv.DictReader(report(capsys, config, "key", form="csv").splitlines())
    }
    assert rows["nightly"] == "3.000000000"
    assert "unread" not in report(capsys, config, "cause")


def test_advice_names_missing_cache_keys(write_ledger, capsys):
    """The facts are those of the period. A key avoids misses of unchanged prompts, and no other."""
    missed = verdict(9000, 9000, ("provider", 9000, DOLLAR), is_unkeyed=True)
    changed = verdict(9000, 9000, ("tools", 9000, DOLLAR), is_unkeyed=True)
    keyed = verdict(9000, 9000, ("provider", 9000, DOLLAR))
    lines = [
        line(attempt(5, "gpt", model="openai/gpt-5.2", **one), client="bot")
        for one in (missed, changed, keyed, verdict(9000, 0, is_unkeyed=True))
    ]
    text = report(capsys, write_ledger(*lines), "key")
    assert (
        "advice: bot: 3 of 4 requests to openai/gpt-5.2 had no prompt_cache_key, and unchanged prompts cost 1.00 usd: "
        "send a prompt_cache_key for each conversation"
    ) in text
    other = [line(attempt(5, "gpt", model="openai/gpt-5.2", **keyed), client="zoe")]
    assert "zoe: " not in report(capsys, write_ledger(*other), "key")


def test_without_verdicts_the_report_states_why_it_is_empty(write_ledger, capsys):
    text = report(capsys, write_ledger(turn("ann", {})), "key")
    assert "no request of this period could have read from a prompt cache" in text
    assert "leave out --by cause" in report(capsys, write_ledger(turn("ann", {})), "cause")
    assert report(capsys, write_ledger(), "key", form="csv").splitlines() == [
        "key,input,could,read,missed,share,lost_usd,grade,because,unread_usd",
    ]


def test_the_command_reads_a_period_and_values(write_ledger, tmp_path):
    config = write_ledger(BROKEN, GOOD)
    done = invoke(
        "cache", "--config", str(config), "--since", EVER, "--by", "key", "--only", "key=alice", "--format", "csv"
    )
    assert (done.returncode, done.stdout.splitlines()[1:]) == (
        0,
        ["alice,60400,60000,59400,600,0.9900,0.000000000,exact,,0.000000000"],
    )
    assert invoke("cache", "--config", str(config)).returncode == 0
    wrong = invoke("cache", "--config", str(config), "--by", "colour")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_names_that_look_like_formulas_are_texts(write_ledger, capsys):
    text = report(
        capsys, write_ledger(turn("ann", verdict(9000, 9000, ("tools", 9000, 5)), run="=cmd()")), "run", form="csv"
    )
    assert text.splitlines()[1].startswith("'=cmd()")


@pytest.mark.parametrize("width", [200, 80, 60])
def test_a_terminal_gets_lines_of_its_width(write_ledger, capsys, monkeypatch, width):
    monkeypatch.setattr(tables, "real_columns", lambda _: width)
    causes = tuple((name, 9000, DOLLAR) for name in ("system", "tools"))
    found = [turn("x" * 60, verdict(20_000, 18_000, *causes)), MOVED]
    lines = report(capsys, write_ledger(*found), "key").splitlines()
    table = [one for one in lines if not one.startswith("advice")]
    assert max(map(len, table)) <= width
    assert "x" * 60 in "".join(text.split("  ")[0] for text in table)
    assert {"system", "tools"} <= set(" ".join(table).split())
