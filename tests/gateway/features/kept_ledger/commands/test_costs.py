"""``trigate costs``: sums of the kept ledger as a table, as CSV and as JSON."""

import csv
import json
import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs
import pytest
import trio

from gateway.commands import tables
from gateway.config_files.loading import from_mapping
from gateway.features.kept_ledger.commands import costs
from gateway.features.kept_ledger.commands.costs import FORMATS
from gateway.features.kept_ledger.keeping import OverflowSums
from gateway.features.kept_ledger.table import LedgerTable
from gateway.ledger.figures import Figures
from gateway.stores.sqlite import SqliteDatabase
from gateway.viewing.periods import days_between, months_between, parse_moment, parse_month
from streams.events import Usage
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.ledger_lines import AT, DAY, attempt, line, random_line, verdict
from tests.support.quick_yaml import dump_yaml, load_yaml

ENTRY = {"model": "openai/gpt-5", "access_key": "$NOBODY_HAS_SET_THIS"}
EVER = "2026-01-01"  # well before the lines, which are from September
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 16, 40, tzinfo=BERLIN)


def report(capsys, config: Path, by: tuple[str, ...], since: str | None, until: str | None, form: str, **more) -> str:
    assert costs.run(config, by=by, since=since, until=until, form=form, **more) == costs.GOOD
    return capsys.readouterr().out


def test_csv_and_json_are_exact_to_the_nano_dollar(write_ledger, capsys):
    draw = random.Random(3)
    lines = [random_line(draw) for _ in range(200)]
    config = write_ledger(*lines)
    nanos = sum(one.nanos for line in lines for one in line.attempts)
    rows = list(csv.DictReader(report(capsys, config, ("run", "group"), EVER, None, "csv").splitlines()))
    assert sum(int(row["usd"].replace(".", "")) for row in rows) == nanos
    assert {len(row["usd"].partition(".")[2]) for row in rows} == {9}
    text = report(capsys, config, ("key", "run", "day"), EVER, None, "json")
    found = json.loads(text)
    assert found["total"]["cost_nanos"] == sum(row["cost_nanos"] for row in found["rows"]) == nanos
    assert f'"cost_usd": {nanos // 10**9}.{nanos % 10**9:09}' in text
    assert found["total"]["requests"] == 200
    assert found["total"]["cost_grade"] == "at_least", "the worst of its parts"


@pytest.mark.parametrize("nanos", [0, 1, 999])
def test_dollars_have_no_exponent(write_ledger, capsys, nanos):
    text = report(capsys, write_ledger(line(attempt(nanos))), ("key",), EVER, None, "json")
    assert text.count(f'"cost_usd": 0.{nanos:09},') == 2


def test_units_in_the_ledger_have_columns(write_ledger, capsys):
    spoken = attempt(3, usage=Usage(units=(("character", 1200),)))
    ranked = attempt(5, usage=Usage(input=4, units=(("search", 2),)))
    config = write_ledger(attrs.evolve(line(spoken), endpoint="speech"), attrs.evolve(line(ranked), endpoint="rerank"))
    table = report(capsys, config, ("endpoint",), EVER, None, "table")
    assert [words.split()[:10] for words in table.splitlines()[2:5]] == [
        ["endpoint", "requests", "failed", "input", "cached", "cache%", "written", "output", "characters", "searches"],
        ["rerank", "1", "0.0%", "4", "0", "0%", "0", "0", "0", "2"],
        ["speech", "1", "0.0%", "0", "0", "-", "0", "0", "1200", "0"],
    ]
    (first, _) = csv.DictReader(report(capsys, config, ("endpoint",), EVER, None, "csv").splitlines())
    assert (first["endpoint"], first["units"]) == ("rerank", "search=2")
    found = json.loads(report(capsys, config, ("endpoint",), EVER, None, "json"))
    assert found["total"]["units"] == {"character": 1200, "search": 2}


def test_missed_prompt_caches_have_columns_if_there_are_verdicts(write_ledger, capsys):
    missed = verdict(51_200, 49_280, ("system", 49_280, 170_016_000), grade="estimated")
    config = write_ledger(line(attempt(5, **missed)), line(attempt(5), client="ben"))
    table = report(capsys, config, ("key",), EVER, None, "table").splitlines()
    assert table[2].split()[-4:] == ["missed", "lost", "usd", "usd"]
    assert [row.split()[-3:-1] for row in table[3:5]] == [["49.3k", "~$0.1700"], ["0", "$0.00"]]
    rows = {row["key"]: row for row in csv.DictReader(report(capsys, config, ("key",), EVER, None, "csv").splitlines())}
    assert (rows["alice"]["cache_missed"], rows["alice"]["cache_lost_usd"]) == ("49280", "0.170016000")
    found = json.loads(report(capsys, config, ("key",), EVER, None, "json"))["total"]
    assert (found["cache_missed_tokens"], found["cache_lost_usd"]) == (49_280, 0.170016)


def test_a_row_that_a_subscription_paid_for_has_no_dollars(write_ledger, capsys):
    config = write_ledger(line(attempt(0, grade=-1)), line(attempt(20_000_000), client="ben"))
    table = report(capsys, config, ("key",), EVER, None, "table").splitlines()
    assert [text.split()[-1] for text in table[2:7] if not text.startswith("─")] == [
        "usd", "$0.0200", "subscription", "$0.0200",
    ]  # fmt: skip
    rows = {row["key"]: row for row in csv.DictReader(report(capsys, config, ("key",), EVER, None, "csv").splitlines())}
    assert rows["alice"]["grade"] == "subscription"
    assert json.loads(report(capsys, config, ("key",), EVER, None, "json"))["total"]["cost_grade"] == "exact"


def test_days_begin_at_midnight_in_the_timezone(write_ledger, capsys):
    """A request at 23:30 UTC on the 20th belongs to the 21st in Berlin."""
    late = int(datetime(2026, 9, 20, 23, 30, tzinfo=UTC).timestamp() * 1e6)
    lines = line(attempt(1), began=late), line(attempt(2), began=late + DAY)
    for zone, days in (("UTC", ["2026-09-20", "2026-09-21"]), ("Europe/Berlin", ["2026-09-21", "2026-09-22"])):
        found = json.loads(report(capsys, write_ledger(*lines, timezone=zone), ("day",), EVER, None, "json"))
        assert [row["day"] for row in found["rows"]] == days


def test_the_table_has_totals_and_marks_inexact_costs(write_ledger, capsys):
    cheap = line(attempt(20, grade=1), client="ben", ended="upstream_error")
    config = write_ledger(line(attempt(1_234_567_890_123)), cheap)
    lines = report(capsys, config, ("key",), EVER, None, "table").splitlines()
    assert [text.split() for text in lines[2:5]] == [
        ["key", "requests", "failed", "input", "cached", "cache%", "written", "output", "usd"],
        ["alice", "1", "0.0%", "16", "5", "31%", "1", "7", "$1,234.57"],
        ["ben", "1", "100.0%", "16", "5", "31%", "1", "7", "~<$0.0001"],
    ]
    assert lines[6].split() == ["total", "2", "50.0%", "32", "10", "31%", "2", "14", "~$1,234.57"]
    assert lines[8] == "~ estimated: token counts or prices are estimates"


def cut(config: Path, most: int) -> None:
    """Leave ``most`` lines of the ledger, and sums of the others."""

    async def shorten() -> None:
        table = LedgerTable(SqliteDatabase(config.parent / "state.sqlite"))
        await table.shrink(0, most)
        await table.database.aclose()

    trio.run(shorten)


def test_a_shortened_ledger_has_the_same_costs_and_reports_missing_details(write_ledger, capsys):
    """Totals in reports fell without a warning."""
    lines = [line(attempt(3**place), began=AT + place * DAY // 2, run=f"run {place}") for place in range(24)]
    config = write_ledger(*lines)
    every_way = ("day",), ("key", "model"), ("target",)
    before = [report(capsys, config, by, EVER, None, "csv") for by in every_way]
    cut(config, 4)
    assert [report(capsys, config, by, EVER, None, "csv") for by in every_way] == before
    table = report(capsys, config, ("run",), EVER, None, "table").splitlines()
    assert table[-1] == (
        "the row - includes 9 requests up to 2026-09-25 14:13 whose runs were deleted to save space (ledger.max_bytes)"
    )
    assert costs.run(config, by=("run",), since="2026-09-22T10:00", form="csv") == costs.GOOD
    found = capsys.readouterr()
    assert "a sum across the start or end" in found.err
    assert "a sum across" not in found.out
    notes = json.loads(report(capsys, config, ("run",), EVER, None, "json"))["notes"]
    assert notes == table[-1:]


def test_a_process_that_ended_before_it_wrote_its_lines_is_in_every_report(write_ledger, capsys):
    """The last lines of a gateway with a full disk were missing without a warning."""
    config = write_ledger(line(attempt(5)))

    async def leave_marks() -> None:
        table = LedgerTable(SqliteDatabase(config.parent / "state.sqlite"))
        await table.mark(1 << 40, AT - DAY, AT)
        await table.mark(2 << 40, AT - DAY, int(datetime.now(UTC).timestamp() * 1e6))  # of a process that runs
        await table.database.aclose()

    trio.run(leave_marks)
    table = report(capsys, config, ("key",), EVER, None, "table").splitlines()
    assert [text for text in table if "may be missing" in text] == [table[-1]]
    assert "≥" in next(text for text in table if text.startswith("total"))
    assert re.search(r"ran from 2026-09-21 (..:..) to 2026-09-21 (..:..) may be missing", table[-1])
    later = [f"{datetime.fromtimestamp(AT / 1e6 + after, UTC):%Y-%m-%dT%H:%M:%SZ}" for after in (30, 120)]
    for since, is_marked in zip(later, (True, False), strict=True):
        total = report(capsys, config, ("key",), since, None, "table")
        assert ("≥" in total, "may be missing" in total) == (is_marked, is_marked), since
    found = json.loads(report(capsys, config, ("day",), EVER, None, "json"))
    assert found["total"]["cost_grade"] == "at_least"
    assert found["notes"] == [table[-1]]
    later = json.loads(report(capsys, config, ("day",), "2026-10-01", None, "json"))
    assert "notes" not in later


def test_a_process_that_was_just_cut_off_may_still_write(write_ledger, capsys):
    config = write_ledger(line(attempt(5)))
    silent = datetime.now(UTC) - timedelta(minutes=10)

    async def leave_mark() -> None:
        table = LedgerTable(SqliteDatabase(config.parent / "state.sqlite"))
        await table.mark(1 << 40, AT, int(silent.timestamp() * 1e6))
        await table.database.aclose()

    trio.run(leave_mark)
    for since in (EVER, "5m"):
        assert "since then, one gateway has not written" in report(capsys, config, ("key",), since, None, "table")


def test_requests_that_are_lost_are_marked_in_every_report(write_ledger, capsys):
    config = write_ledger(line(attempt(5)))

    async def lose() -> None:
        table = LedgerTable(SqliteDatabase(config.parent / "state.sqlite"))
        overflow = OverflowSums(Figures())
        for _ in range(3):
            overflow.count_lost(line(began=AT + 60_000_000))
        await table.add_rows(overflow.take_rows(100))
        await table.database.aclose()

    trio.run(lose)
    table = report(capsys, config, ("key",), EVER, None, "table").splitlines()
    assert table[6].split()[-1] == "≥<$0.0001"
    assert table[-1] == (
        "≥ 3 requests from 2026-09-21 14:14 to 2026-09-21 14:14 are missing: the database was unavailable. "
        "Their costs are in the log"
    )
    assert json.loads(report(capsys, config, (), EVER, None, "json"))["total"]["cost_grade"] == "at_least"


def test_a_period_that_begins_before_the_ledger_is_reported(write_ledger, capsys):
    config = write_ledger(line(attempt(5)))
    content = load_yaml(config.read_text())
    content["state_storage"] |= {"ledger": {"keep": "7d"}}
    config.write_text(dump_yaml(content))
    assert "the ledger starts at" in report(capsys, config, ("key",), "30d", None, "table")
    assert "ledger.keep" not in report(capsys, config, ("key",), "3d", None, "table")


def test_on_a_terminal_names_stay_whole(write_ledger, capsys, monkeypatch):
    names = ("anthropic/claude-opus-4-7-with-a-very-long-fame", "anthropic/claude-opus-4-7-with-a-very-long-name")
    config = write_ledger(*(line(attempt(5, model=name), run="x" * 16) for name in names))
    for width, left_out in ((200, []), (80, ["cached", "written"])):
        monkeypatch.setattr(tables, "real_columns", lambda _, width=width: width)
        lines = report(capsys, config, ("model", "run", "day"), EVER, None, "table").splitlines()
        assert max(map(len, lines)) <= width
        assert [name for name in ("cached", "cache%", "written") if name not in lines[2]] == left_out
        found = [text.split()[:3] for text in lines[3:7] if "/" in text]
        assert found == [[name, "x" * 16, "2026-09-21"] for name in names]


def test_names_from_clients_are_escaped_in_terminals_and_csv(write_ledger, capsys):
    """https://owasp.org/www-community/attacks/CSV_Injection"""
    config = write_ledger(line(attempt(5), run="=1+1\x1b[2J\x9b2J\n"))
    assert "'=1+1" in report(capsys, config, ("run",), EVER, None, "csv")
    for form in FORMATS:
        text = report(capsys, config, ("run",), EVER, None, form)
        assert not {"\x1b", "\x9b"} & set(text)
        assert r"=1+1\u001b[2J\u009b2J\n" in text


@pytest.mark.parametrize("form", ["csv", "json"])
def test_reports_show_tokens_read_from_and_written_to_the_cache(write_ledger, capsys, form):
    lines = [line(attempt(1, usage=Usage(10, 80, 10, output=5))), line(attempt(1, usage=Usage()), client="ben")]
    text = report(capsys, write_ledger(*lines), ("client",), EVER, None, form)
    rows = json.loads(text)["rows"] if form == "json" else list(csv.DictReader(text.splitlines()))
    written = "cache_write_tokens" if form == "json" else "cache_write"
    found = {row["client"]: (row[written], row["cached_share"]) for row in rows}
    none = None if form == "json" else ""
    number = int if form == "json" else str
    assert found == {"alice": (number(10), 0.8 if form == "json" else "0.8000"), "ben": (number(0), none)}


def test_costs_are_grouped_by_key_or_without_keys_by_model(write_ledger, capsys):
    config = write_ledger(line(attempt(5)))
    assert json.loads(report(capsys, config, (), EVER, None, "json"))["by"] == ["model"]
    config = write_ledger(client_keys=[{"name": "alice", "key": "k" * 32}])
    assert json.loads(report(capsys, config, (), EVER, None, "json"))["by"] == ["key"]


@each_row(
    ("text", "begin", "end"),
    [
        ("today", "2026-11-21T00:00+01:00", "2026-11-22T00:00+01:00"),
        ("1d", "2026-11-21T00:00+01:00", "2026-11-21T00:00+01:00"),
        ("7d", "2026-11-15T00:00+01:00", "2026-11-15T00:00+01:00"),
        ("4w", "2026-10-25T00:00+02:00", "2026-10-25T00:00+02:00"),
        ("90m", "2026-11-21T15:10+01:00", "2026-11-21T15:10+01:00"),
        ("2026-11-01", "2026-11-01T00:00+01:00", "2026-11-02T00:00+01:00"),
        ("2026-11-01T12:30", "2026-11-01T12:30+01:00", "2026-11-01T12:30+01:00"),
        ("2026-11-01T12:30Z", "2026-11-01T13:30+01:00", "2026-11-01T13:30+01:00"),
    ],
)
def test_a_moment_is_a_date_or_how_long_ago(text, begin, end):
    assert parse_moment(text, NOW) == datetime.fromisoformat(begin)
    assert parse_moment(text, NOW, end=True) == datetime.fromisoformat(end)


def test_durations_are_exact_when_clocks_change():
    """Two o'clock occurs twice that night, and Python counts times of one zone by their clocks."""
    later = datetime(2026, 10, 25, 2, 15, tzinfo=BERLIN, fold=1)
    for text, seconds in (("30m", 1800), ("24h", 86_400)):
        assert later.timestamp() - parse_moment(text, later).timestamp() == seconds
    half_an_hour = [*days_between(parse_moment("30m", later), later, BERLIN)]
    assert [(day, end - begin) for day, (begin, end) in half_an_hour] == [("2026-10-25", 1_800_000_000)]
    assert [end - begin for _, (begin, end) in months_between(parse_moment("30m", later), later, BERLIN)] == [1.8e9]


def test_a_time_with_an_offset_is_shown_in_the_timezone(write_ledger, capsys):
    """The heading had 00:00 with the name of the configuration's time zone."""
    config = write_ledger(line(attempt(3)), timezone="Europe/Berlin")
    table = report(capsys, config, ("key",), "2026-09-01T00:00Z", "2026-09-30T00:00-05:00", "table")
    assert table.startswith("2026-09-01 02:00 to 2026-09-30 07:00 (Europe/Berlin)\n")


@pytest.mark.parametrize("options", [("--by", "day,key"), ("--by", "day, key,day"), ("--by", "day", "--by", "key")])
def test_several_columns_may_have_commas_as_in_the_admin_api(write_ledger, options):
    done = invoke("costs", str(write_ledger(line(attempt(3)))), *options, "--since", EVER, "--format", "json")
    assert json.loads(done.stdout)["by"] == ["day", "key"], done.stderr


@each_row(
    ("options", "says"),
    [
        (("--by", "day,foo"), "'foo' is not one of 'key', 'client'"),
        (("--month", "2026-10", "--from", "2026-10-02"), "--month is a whole month"),
        (("--only", "colour=red"), "expected NAME=VALUE"),
        (("--since", "2099-01-01"), "must be before"),
    ],
)
def test_options_that_select_nothing_are_a_mistake(write_ledger, options, says):
    done = invoke("costs", str(write_ledger()), *options)
    assert (done.returncode, says in " ".join(done.stderr.split())) == (2, True), done.stderr


@each_row(
    ("command", "option", "advice"),
    [
        ("costs", "--month", "; for several months, use --since and --until\n"),
        ("costs", "--since", "\n"),
        ("costs", "--until", "\n"),
        ("cache", "--since", "\n"),
        ("reconcile", "--month", "\n"),
    ],
)
def test_a_repeated_period_is_a_mistake(command, option, advice):
    """Only the last of two months was counted."""
    file = ("invoice.csv",) if command == "reconcile" else ()
    done = invoke(command, *file, option, "2026-09", option, "2026-10")
    assert done.returncode == 2
    assert done.stderr.endswith(f"give {option} once, not 2026-09 and 2026-10{advice}")


@each_row("text", ["never", "7", "2026-13-01", "", "9999-12-31"])
def test_an_invalid_time_is_reported_with_the_accepted_forms(text):
    with pytest.raises(ValueError, match="such as 7d, 24h or 4w, or a date such as 2026-11-01"):
        parse_moment(text, NOW, end=True)


def test_a_day_may_have_25_hours():
    begin, end = datetime(2026, 10, 24, 12, tzinfo=BERLIN), datetime(2026, 10, 26, 12, tzinfo=BERLIN)
    days = dict(days_between(begin, end, BERLIN))
    hours = {day: (until - since) / 3_600_000_000 for day, (since, until) in days.items()}
    assert hours == {"2026-10-24": 12, "2026-10-25": 25, "2026-10-26": 12}


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        (None, "type memory stores no ledger"),
        ({"type": "none"}, "set state_storage to {type: sqlite, path: /var/lib/trigate/state.sqlite} or to postgres"),
        ({"type": "sqlite", "path": "gone.sqlite"}, "gone.sqlite does not exist"),
        ({"type": "sqlite", "path": "state.sqlite", "ledger": {"keep": "0"}}, "ledger.keep is 0"),
    ],
)
def test_costs_without_a_kept_ledger_reports_the_needed_settings(tmp_path, monkeypatch, capsys, storage, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state.sqlite").touch()
    given = {} if storage is None else {"state_storage": storage}
    Path("trigate.yaml").write_text(dump_yaml({"version": "v0.4.0", "model_providers": [ENTRY], **given}))
    assert costs.run(None) == costs.UNREADABLE
    assert words in capsys.readouterr().err


def test_a_person_is_advised_to_store_costs_next_to_the_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "trigate.yaml"
    file.write_text(dump_yaml({"version": "v0.4.0", "model_providers": [ENTRY]}))
    assert costs.run(file) == costs.UNREADABLE
    assert f"{{type: sqlite, path: {tmp_path}/state.sqlite}}" in " ".join(capsys.readouterr().err.split())


def test_costs_works_without_the_providers_keys(write_ledger):
    began = int((datetime.now(UTC) - timedelta(minutes=5)).timestamp() * 1e6)
    config = write_ledger(line(attempt(12), began=began), line(attempt(30), began=AT - 900 * DAY))
    done = invoke("costs", str(config), "--by", "key", "--since", "24h", "--format", "csv")
    assert done.stdout.splitlines() == [
        "key,requests,failed,input,cached,output,usd,grade,cache_write,cached_share,cache_missed,cache_lost_usd,"
        "cache_unread_usd",
        "alice,1,0,16,5,7,0.000000012,exact,1,0.3125,0,0.000000000,0.000000000",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_months_begin_at_midnight_in_the_timezone(write_ledger, capsys):
    """A request at 22:30 UTC on 30 September belongs to October in Berlin."""
    late = int(datetime(2026, 9, 30, 22, 30, tzinfo=UTC).timestamp() * 1e6)
    config = write_ledger(line(attempt(1), began=late), line(attempt(2), began=late - DAY), timezone="Europe/Berlin")
    month = {"since": None, "until": None, "form": "json"}
    found = {
        name: json.loads(report(capsys, config, ("month",), **month, month=name))["rows"]
        for name in ("2026-08", "2026-09", "2026-10")
    }
    assert {name: [(row["month"], row["cost_nanos"]) for row in rows] for name, rows in found.items()} == {
        "2026-08": [], "2026-09": [("2026-09", 2)], "2026-10": [("2026-10", 1)],
    }  # fmt: skip
    both = json.loads(report(capsys, config, ("month",), EVER, None, "json"))
    assert [(row["month"], row["cost_nanos"]) for row in both["rows"]] == [("2026-09", 2), ("2026-10", 1)]


def test_days_and_months_of_a_period_add_up_to_the_nano_dollar(write_ledger, capsys):
    draw = random.Random(5)
    config = write_ledger(*(random_line(draw, days=50) for _ in range(300)), timezone="Europe/Berlin")
    sums = set()
    for by in (("month",), ("day",), ("month", "day", "key"), ("key",), ("group", "month"), ("model",)):
        rows = csv.DictReader(report(capsys, config, by, EVER, None, "csv").splitlines())
        sums.add(sum(int(row["usd"].replace(".", "")) for row in rows))
    months = [name for name, _ in months_between(*(parse_moment(text, NOW) for text in (EVER, "today")), BERLIN)]
    whole = 0
    for month in months:
        found = json.loads(report(capsys, config, ("key",), None, None, "json", month=month))
        whole += found["total"]["cost_nanos"]
    assert sums == {whole}


@each_row("text", ["2026-1", "2026-13", "2026-00", "10/2026", "", "0000-01", "9999-12"])
def test_an_invalid_month_is_reported_with_the_accepted_form(text):
    with pytest.raises(ValueError, match="such as 2026-10"):
        parse_month(text, UTC)


def test_only_selects_lines_by_their_values(write_ledger, capsys):
    lines = line(attempt(1), group="a"), line(attempt(2), group="b"), line(attempt(4), client="ben"), line(attempt(8))
    config = write_ledger(*lines)

    def nanos(*only: str) -> int:
        return json.loads(report(capsys, config, ("key",), EVER, None, "json", only=only))["total"]["cost_nanos"]

    assert [nanos("group=a"), nanos("group=a", "group=b"), nanos("group="), nanos("key=ben")] == [1, 3, 12, 4]
    assert [nanos("client=alice", "group="), nanos("group=' OR 1=1"), nanos("model=openai/gpt")] == [8, 0, 15]
    done = invoke("costs", str(config), "--only", "key=typo", "--from", "2000-01-01")
    assert "no request of this period matches --only key=typo" in done.stderr


def test_requests_without_a_key_have_a_row_with_the_reason(write_ledger, capsys):
    config = write_ledger(line(attempt(2_170_000_000), client=None), line(attempt(5)))
    table = report(capsys, config, ("key",), EVER, None, "table")
    assert [text.split()[-1] for text in table.splitlines() if text.startswith("(none) ")] == ["$2.17"]
    assert "(none): these requests had no client key" in table
    assert "(none)" not in report(capsys, config, ("key",), EVER, None, "csv")
    assert "(none)" not in report(capsys, config, ("run",), EVER, None, "table")


def test_projects_have_the_list_price_of_subscription_requests(write_ledger, capsys):
    opus = {"model": "anthropic/claude-opus-4-5", "usage": Usage(10**6, 10**6, 10**6, output=10**6), "grade": -1}
    config = write_ledger(
        line(attempt(**opus), project="shop"), line(attempt(2_170_000_000), project="shop"),
        line(attempt(**{**opus, "model": "ollama/nothing"}), project=None), line(attempt(1), project="site"),
    )  # fmt: skip
    lines = report(capsys, config, ("project",), EVER, None, "table", at_list_price=True).splitlines()
    assert lines[2].split()[-5:] == ["usd", "plan", "at", "list", "price"]
    rows = {words[0]: words[-2:] for words in map(str.split, lines[3:8]) if len(words) > 2}
    assert rows == {
        "shop": ["$2.17", "~$36.75"], "(none)": ["subscription", "≥$0.00"], "site": ["<$0.0001", "-"],
        "total": ["$2.17", "≥$36.75"],
    }  # fmt: skip
    assert any(one.startswith("(none): these requests had no x-trigate-project") for one in lines)
    only = report(capsys, config, ("key",), EVER, None, "csv", only=("project=shop",), at_list_price=True)
    assert [row["list_usd"] for row in csv.DictReader(only.splitlines())] == ["36.750000000"]
    found = json.loads(report(capsys, config, ("project",), EVER, None, "json", at_list_price=True))
    assert found["total"]["list_usd"] == 36.75  # 5 + 0.50 + 6.25 + 25 dollars
    assert "list_usd" not in report(capsys, config, ("project",), EVER, None, "json")


@pytest.mark.server
def test_status_does_not_wait_for_a_locked_ledger(database, monkeypatch):
    import psycopg

    monkeypatch.setattr(costs, "STATUS_TIMEOUT", 1.0)
    storage = {"type": "postgres", "connection_string": database}
    config = from_mapping({"version": "v0.4.0", "model_providers": [{"model": "openai/a"}], "state_storage": storage})
    assert costs.spending_today(config)[1].endswith("today")
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE trigate_ledger IN ACCESS EXCLUSIVE MODE")
        other.execute("SET idle_in_transaction_session_timeout = 20000")  # ends the lock if the command waits for it
        assert costs.spending_today(config)[1].startswith("unknown: the state storage ")
