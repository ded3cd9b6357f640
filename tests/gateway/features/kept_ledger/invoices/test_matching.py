"""Comparisons of invoices with a ledger: their grain, the causes of planted faults, and the command's exit status.

Each fault is found in every format, named, and has its exact dollars."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs
import click
import pytest
import trio

from gateway.features.kept_ledger.commands.reconcile import parse_tolerance
from gateway.features.kept_ledger.invoices.comparison import Tolerance
from gateway.features.kept_ledger.line import UNPRICED
from streams.events import Usage
from tests.support.command_line import invoke
from tests.support.invoices import (
    FORMATS,
    Call,
    anthropic_files,
    call,
    csv_bytes,
    ledger_lines,
    plain_files,
    traffic,
    usd_of,
    write_ledger,
)
from tests.support.quick_yaml import dump_yaml, load_yaml

Prepared = Callable[..., list[str]]
Compared = Callable[..., tuple[int, dict[str, Any]]]
LARGE: Final = "m-large"


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Return a function that writes a ledger and files, and returns the command's arguments for them."""

    def prepare(calls: list[Call], provider: str, files: dict[str, bytes], **entry: Any) -> list[str]:
        trio.run(write_ledger, tmp_path, ledger_lines(calls, provider))
        config = tmp_path / "trigate.yaml"
        storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
        entries = [{"model": f"{provider}/*", "access_key": "$NOT_SET", **entry}]
        config.write_text(dump_yaml({"version": "v0.4.0", "model_providers": entries, "state_storage": storage}))
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return ["reconcile", "--config", str(config), *(str(tmp_path / name) for name in files)]

    return prepare


def compare(arguments: list[str], *more: str) -> tuple[int, dict[str, Any]]:
    """Run the command, and return its status and its JSON."""
    done = invoke(*arguments, "--format", "json", *more)
    assert done.stderr == "" or done.returncode, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def compared(prepared: Prepared) -> Compared:
    """Return a function that compares an invoice of calls with a ledger of them: its status and JSON."""

    def compare_calls(calls: list[Call], form: str, files: dict[str, bytes] | None = None) -> tuple[int, Any]:
        provider, write = FORMATS[form]
        renamed = [one.model.replace("m-", "gpt-") if form == "openai" else one.model for one in calls]
        known = [attrs.evolve(one, model=model) for one, model in zip(calls, renamed, strict=True)]
        arguments = prepared(known, provider, files or write(calls), base_url="http://127.0.0.1:9")
        return compare(arguments, "--month", "2026-10")

    return compare_calls


def test_without_a_month_the_files_determine_the_days(prepared):
    calls = traffic(6, ["m-large"])
    some = [one for one in calls if 2 <= one.day <= 4]
    status, found = compare(prepared(calls, "mistral", plain_files(some)))
    assert (status, found["since"], found["until"]) == (0, "2026-10-02", "2026-10-05")
    status, found = compare(prepared(calls, "mistral", plain_files(some)), "--month", "2026-10")
    assert status == 3
    status, found = compare(prepared(calls, "mistral", plain_files(calls)), "--month", "2026-09")
    assert (status, found["rows"]) == (3, [])
    assert any(re.match(r"ignored \d+ lines, with .* usd, of other days", note) for note in found["notes"])
    assert any("nothing was compared" in note for note in found["notes"])


def test_the_table_of_another_month_reports_an_empty_comparison(prepared):
    text = b"day,model,usd\n2026-10-01,m-large,1.00\n"
    done = invoke(*prepared(traffic(1), "mistral", {"one.csv": text}), "--month", "2026-09")
    assert done.returncode == 3
    assert "ignored 1 line, with 1.0000 usd, of other days" in done.stdout
    assert done.stdout.splitlines()[-1] == "nothing was compared"


@pytest.mark.parametrize(
    ("day", "status"), [("0001-01-01", 3), ("9998-12-31", 3), ("9999-01-01", 1), ("9999-12-31", 1)]
)
def test_no_day_is_a_traceback(prepared, day, status):
    done = invoke(*prepared(traffic(1), "mistral", {"one.csv": f"day,model,usd\n{day},m-large,1.00\n".encode()}))
    assert done.returncode == status
    assert status == 3 or done.stderr == f"the files cover {day} to {day}; choose a month with --month\n"


def test_days_are_in_utc_whatever_the_timezone(prepared, tmp_path):
    calls = traffic(3)
    arguments = prepared(calls, "mistral", plain_files(calls))
    content = load_yaml((tmp_path / "trigate.yaml").read_text())
    (tmp_path / "trigate.yaml").write_text(dump_yaml({**content, "timezone": "Pacific/Auckland"}))
    status, found = compare(arguments)
    assert (status, found["total"]["causes"]) == (0, {})


def test_an_invoice_without_models_is_incomplete(prepared):
    calls = [attrs.evolve(one, model=one.model.replace("m-", "gpt-")) for one in traffic(2)]
    by_day = {day: sum(one.usd for one in calls if one.day == day) for day in (1, 2)}
    data = [
        {"object": "bucket", "start_time": at, "end_time": at + 86400, "results": [
            {"object": "organization.costs.result", "amount": {"value": float(by_day[day]), "currency": "usd"},
             "line_item": None, "project_id": None}
        ]} for day in (1, 2) for at in [int(datetime(2026, 10, day, tzinfo=UTC).timestamp())]
    ]  # fmt: skip
    page = json.dumps({"object": "page", "data": data, "has_more": False}).encode()
    status, found = compare(prepared(calls, "openai", {"costs.json": page}))
    assert (status, found["complete"], found["rows"]) == (3, False, [])
    assert any(re.search("ignored 2 lines, with .* by day and model", note) for note in found["notes"])


def test_fees_of_tools_belong_to_the_requests_that_called_them(prepared):
    """Our cost of a request has the fee of its web searches; Anthropic lists them separately."""
    fee = Decimal("0.05")
    calls = traffic(2, ["m-large"])
    with_fee = [attrs.evolve(one, own_usd=one.usd + fee) if one.day == 2 else one for one in calls]
    files = anthropic_files(calls)
    report = json.loads(files["cost_report.json"])
    report["data"][1]["results"].append({
        "amount": "15", "currency": "USD", "cost_type": "web_search", "description": "Web Search Usage", "model": None,
        "token_type": None, "service_tier": None, "workspace_id": None,
    })  # fmt: skip
    files["cost_report.json"] = json.dumps(report).encode()
    status, found = compare(prepared(with_fee, "anthropic", files))
    assert (status, found["total"]["difference_usd"], len(found["rows"])) == (0, "0.00", 1)


def test_fees_of_tools_that_no_request_of_ours_called_went_past_the_gateway(prepared):
    calls = traffic(1, ["m-large"])
    files = anthropic_files(calls)
    report = json.loads(files["cost_report.json"])
    report["data"][0]["results"].append({"amount": "150", "currency": "USD", "cost_type": "web_search"})
    files["cost_report.json"] = json.dumps(report).encode()
    status, found = compare(prepared(calls, "anthropic", files))
    assert (status, found["total"]["causes"]) == (3, {"past_gateway": "1.50"})
    assert found["rows"][0]["model"] == "(web_search)"


def test_a_missing_page_is_beyond_tolerance(prepared):
    calls = traffic(2, ["m-large"])
    files = anthropic_files(calls)
    report = json.loads(files["cost_report.json"]) | {"has_more": True, "next_page": "page_2"}
    files["cost_report.json"] = json.dumps(report).encode()
    status, found = compare(prepared(calls, "anthropic", files))
    assert (status, found["complete"], found["within"]) == (3, False, False)
    assert any("has_more is true" in note for note in found["notes"])


def test_a_provider_without_an_invoice_is_reported(prepared):
    calls = traffic(1, ["m-large"])
    content = csv_bytes([{"day": "2026-10-01", "model": "openai/gpt-5", "usd": "1"}])
    status, found = compare(prepared(calls, "mistral", {"bill.csv": content}))
    assert status == 3
    assert [note for note in found["notes"] if note.startswith("mistral: no costs of it")] != []


@pytest.mark.parametrize(
    ("options", "status"),
    [((), 3), (("--tolerance", "2%"), 0), (("--tolerance", "5usd"), 0), (("--tolerance", "0.5%"), 3)],
)
def test_the_tolerance_is_the_larger_of_a_share_and_an_amount(prepared, options, status):
    extra = call(1, "m-large", 85, 9, in_ledger=False)  # 1.4 %
    calls = [*traffic(1, ["m-large"]), extra]
    assert compare(prepared(calls, "mistral", plain_files(calls)), *options)[0] == status


def test_tolerances_are_parts_and_amounts():
    assert parse_tolerance([]) == Tolerance(Decimal("0.01"), Decimal("0.01"))
    assert parse_tolerance(["2%", "0.50 usd"]) == Tolerance(Decimal("0.02"), Decimal("0.50"))
    for text in ("", "two", "-1%", "1e5%", "5 eur", "9" * 30):
        with pytest.raises(click.UsageError, match="expected a part or an amount"):
            parse_tolerance([text])


def test_exit_statuses_match_the_documentation(prepared, tmp_path):
    calls = traffic(1, ["m-large"])
    arguments = prepared(calls, "mistral", plain_files(calls))
    assert invoke(*arguments).returncode == 0
    assert invoke(*arguments, str(tmp_path / "gone.csv")).returncode == 1
    (tmp_path / "other.txt").write_text("hello")
    refused = invoke(*arguments, str(tmp_path / "other.txt"))
    assert (refused.returncode, "other.txt: expected a page" in refused.stderr) == (1, True)
    assert invoke(*arguments, "--month", "October").returncode == 2
    assert invoke("reconcile").returncode == 2
    (tmp_path / "state.sqlite").unlink()
    assert invoke(*arguments).returncode == 1


def test_the_command_writes_no_file(prepared, tmp_path):
    calls = traffic(2)
    arguments = prepared(calls, "mistral", plain_files(calls[:-1]))
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".sqlite-shm"}
    assert invoke(*arguments).returncode == 3
    assert {path: path.read_bytes() for path in before} == before


def test_names_of_an_invoice_are_no_formulas_and_no_escapes(prepared):
    """https://owasp.org/www-community/attacks/CSV_Injection"""
    formulas = ("=1+1\x1b[2J", "+1", "-1", "@x", "\t=1", 'a,"b')
    rows = [{"day": "2026-10-01", "model": name, "usd": "5"} for name in formulas]
    arguments = prepared(traffic(1), "mistral", {"bill.csv": csv_bytes(rows)})
    table, text = invoke(*arguments).stdout, invoke(*arguments, "--format", "csv").stdout
    assert "\x1b" not in table + text + invoke(*arguments, "--format", "json").stdout
    names = [line.split(",")[1] for line in text.splitlines()[1:]]
    assert all(not name.startswith(("=", "+", "-", "@", "\t")) for name in names)


def test_the_table_lists_the_causes_and_their_meaning(prepared):
    extra = call(1, "m-large", 500, 9, in_ledger=False)
    calls = [*traffic(1), extra]
    done = invoke(*prepared(calls, "mistral", plain_files(calls)))
    lines = done.stdout.splitlines()
    assert lines[0] == "2026-10-01 to 2026-10-01 (UTC)"
    assert lines[2].split() == ["provider", "model", "invoice", "ledger", "difference"]
    assert lines[3].split() == ["mistral", "m-large", "12.3557", "11.4057", "+0.9500", "!"]
    assert lines[4].split() == ["past_gateway", "+0.9500"]
    assert "past_gateway: the provider counts more requests or tokens" in done.stdout
    assert lines[-1] == "beyond tolerance"


# Planted faults


def causes_of(found: dict[str, Any]) -> dict[str, Decimal]:
    """Return the causes in all rows, after checking the differences of each row and its days."""
    for row in (*found["rows"], found["total"]):
        assert Decimal(row["difference_usd"]) == Decimal(row["invoice_usd"]) - Decimal(row["ledger_usd"])
        days = [Decimal(day["difference_usd"]) for day in row.get("days", ())]
        assert not days or sum(days) == Decimal(row["difference_usd"])
    return {cause: Decimal(usd) for cause, usd in found["total"]["causes"].items()}


def plant_fault(calls: list[Call], **fault: Any) -> tuple[list[Call], Call]:
    """Return ``calls`` with a fault in the second one of the second day, and that call."""
    place = next(at for at, one in enumerate(calls) if (one.day, one.model) == (2, LARGE)) + 1
    found = attrs.evolve(calls[place], **fault)
    return [*calls[:place], found, *calls[place + 1 :]], calls[place]


@pytest.mark.parametrize("form", FORMATS)
def test_an_invoice_of_the_same_requests_has_no_difference(compared, form):
    status, found = compared(traffic(), form)
    assert (status, causes_of(found)) == (0, {})
    assert len(found["rows"]) == 2


@pytest.mark.parametrize("form", FORMATS)
def test_a_model_that_only_the_provider_knows_went_past_the_gateway(compared, form):
    extra = call(2, "m-other", 777, 9, in_ledger=False)
    _, write = FORMATS[form]
    status, found = compared(traffic(), form, write([*traffic(), extra]))
    assert (status, causes_of(found)) == (3, {"past_gateway": extra.usd})


@pytest.mark.parametrize("form", ["openai", "anthropic", "focus", "plain"])
def test_tokens_that_only_we_took_for_cached_differ_in_their_price(compared, form):
    _, one = plant_fault(traffic())
    uncached = Usage(one.usage.prompt, 0, output=one.usage.output)
    fault = {"usage": uncached, "usd": usd_of(uncached), "own_usage": one.usage, "own_usd": one.usd}
    status, found = compared(plant_fault(traffic(), **fault)[0], form)
    assert (status, causes_of(found)) == (3, {"price": usd_of(uncached) - one.usd})


@pytest.mark.parametrize("form", FORMATS)
def test_a_request_that_the_provider_counts_on_the_next_day_costs_nothing(compared, form):
    calls, one = plant_fault(traffic(), billed_day=3)
    status, found = compared(calls, form)
    assert (status, causes_of(found)) == (0, {})
    days = [(day["day"], Decimal(day["difference_usd"])) for row in found["rows"] for day in row["days"]]
    assert days == [("2026-10-02", -one.usd), ("2026-10-03", one.usd)]


def test_amounts_in_cents_differ_without_a_cause(compared):
    calls = [one for one in traffic() if one.id.endswith("-1")]
    cents = [attrs.evolve(one, usd=one.usd.quantize(Decimal("0.01")), own_usd=one.usd) for one in calls]
    status, found = compared(cents, "plain")
    assert (status, causes_of(found)) == (0, {})


@pytest.mark.parametrize(("fault", "causes"), [({"in_invoice": False}, ()), ({"in_ledger": False}, ("past_gateway",))])
def test_tokens_that_only_the_provider_counts_went_past_the_gateway(compared, fault, causes):
    calls, one = plant_fault(traffic(), **fault)
    status, found = compared(calls, "openai")
    assert (status, causes_of(found)) == (3, dict.fromkeys(causes, one.usd))


def test_credits_are_a_row_of_their_own(compared):
    _, write = FORMATS["focus"]
    ((name, content),) = write(traffic()).items()
    head, first, *rest = content.splitlines()
    fields = dict(zip(head.decode().split(","), first.decode().split(","), strict=True))
    credit = {**fields, "ChargeCategory": "Credit", "BilledCost": "-5.25", "ConsumedQuantity": ""}
    lines = [head, first, *rest, ",".join(credit.values()).encode()]
    status, found = compared(traffic(), "focus", {name: b"\n".join(lines)})
    assert (status, causes_of(found)) == (0, {})
    assert [row["invoice_usd"] for row in found["rows"] if row["model"] == "(credit)"] == ["-5.25"]
    assert any("rows of services without models" in note for note in found["notes"])


def test_without_tokens_price_and_quantity_cannot_be_separated(compared):
    calls, one = plant_fault(traffic())
    dearer = [attrs.evolve(each, usd=each.usd * 2, own_usd=each.usd) if each == one else each for each in calls]
    status, found = compared(dearer, "plain", plain_files(dearer, tokens=False))
    assert (status, causes_of(found)) == (3, {})
    assert Decimal(found["total"]["difference_usd"]) == one.usd
    assert [row["price_and_quantity_separated"] for row in found["rows"]] == [False, True]


@pytest.mark.parametrize("form", ["openai", "anthropic", "openrouter", "focus", "plain"])
def test_each_of_many_faults_has_its_cause(compared, form):
    """The invoice has three faults on different days."""
    calls = traffic(days=8)
    planted: dict[str, Decimal] = {}
    result: list[Call] = []
    for one in calls:
        if one.id != f"up-{one.day}-{LARGE}-2":
            result.append(one)
            continue
        match one.day:
            case 2:
                result.append(attrs.evolve(one, in_ledger=False))
                planted["past_gateway"] = one.usd
            case 4:
                result.append(attrs.evolve(one, usd=one.usd * 3, own_usd=one.usd))
                planted["price"] = one.usd * 2
            case 6:
                result.append(attrs.evolve(one, grade=UNPRICED))
                planted["unpriced"] = one.usd
            case _:
                result.append(one)
    status, found = compared(result, form)
    assert (status, causes_of(found)) == (3, planted)


def test_requests_that_a_subscription_paid_for_are_on_no_invoice(compared):
    calls, _ = plant_fault(traffic(), grade=-1, own_usd=Decimal(0), in_invoice=False)
    status, found = compared(calls, "anthropic")
    assert (status, causes_of(found)) == (0, {})
