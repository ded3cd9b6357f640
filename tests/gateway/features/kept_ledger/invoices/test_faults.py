"""Invoices with planted faults, in every format: each fault is found, named, and has its exact dollars."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from gateway.features.kept_ledger.commands import reconcile
from gateway.features.kept_ledger.line import UNPRICED
from streams.events import Usage
from tests.support.invoices import (
    FORMATS,
    Call,
    call,
    ledger_lines,
    plain_files,
    traffic,
    usd_of,
    write_ledger,
)
from tests.support.quick_yaml import dump_yaml

Compared = Callable[..., tuple[int, dict[str, Any]]]
LARGE: Final = "m-large"


@pytest.fixture
def compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compared:
    """Return a function that compares an invoice of calls with a ledger of them: its status and JSON."""

    def compare(
        calls: list[Call],
        form: str,
        files: dict[str, bytes] | None = None,
        **options: Any,
    ) -> tuple[int, dict[str, Any]]:
        provider, write = FORMATS[form]
        renamed = [
            attrs.evolve(one, model=one.model.replace("m-", "gpt-")) if form == "openai" else one for one in calls
        ]
        trio.run(write_ledger, tmp_path, ledger_lines(renamed, provider))
        config = tmp_path / "trigate.yaml"
        price = {name: float(usd) for name, usd in (("input", 2), ("cached", 0.5), ("output", 8))}
        entries = [
            {"model": f"{provider}/{model}", "access_key": "$NOT_SET", "price": price, "base_url": "http://127.0.0.1:9"}
            for model in sorted({one.model for one in renamed})
        ]
        storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
        config.write_text(dump_yaml({"version": "v0.4.0", "model_providers": entries, "state_storage": storage}))
        paths = []
        for name, content in (write(calls) if files is None else files).items():
            paths.append(tmp_path / name)
            paths[-1].write_bytes(content)
        status = reconcile.run(paths, config, form="json", **{"month": "2026-10", **options})
        return status, json.loads(capsys.readouterr().out)

    return compare


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
