"""Files of invoices: their formats, encodings and damages. No file is a traceback, and none fills the memory."""

import contextlib
import csv
import io
import json
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.features.kept_ledger.invoices.line import InvoiceLine, InvoiceRow, UnreadableInvoice
from gateway.features.kept_ledger.invoices.model_names import find_model, fold_model
from gateway.features.kept_ledger.invoices.reading import ReadFiles, read_files
from tests.support.each_row import each_row
from tests.support.invoices import FORMATS, focus_files, plain_files, traffic

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, *contents: bytes) -> tuple[list[InvoiceLine], ReadFiles]:
    """Return the lines in files with ``contents``, and the facts about these files."""
    found, paths = ReadFiles(), []
    for number, content in enumerate(contents):
        paths.append(path / f"file-{number}")
        paths[-1].write_bytes(content)
    return list(read_files(paths, found)), found


def row_of(usd: object) -> InvoiceRow:
    return InvoiceRow({"usd": usd}, "here")


def dollars(lines: list[InvoiceLine]) -> Decimal:
    return sum((line.usd or Decimal(0) for line in lines), start=Decimal(0))


@each_row("form", FORMATS)
def test_each_format_is_recognized_by_its_content(tmp_path, form):
    _, write = FORMATS[form]
    lines, found = read(tmp_path, *write(traffic()).values())
    assert dollars(lines) == sum(one.usd for one in traffic())
    report = {"focus": "FOCUS", "plain": "CSV"}.get(form, form)
    assert all(one.startswith(report) for one in found.formats.values())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_may_have_any_encoding_and_separator(tmp_path, encoding, delimiter, end):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerows(
        [("Day", "MODEL ", "usd"), ("2026-10-01", 'a "quoted", odd;\nname\té', "1.50"), (), ("2026-10-02", "b", "2")]
    )
    lines, _ = read(tmp_path, text.getvalue().encode(encoding))
    assert [(line.model, line.usd) for line in lines] == [
        ('a "quoted", odd;\nname\té', Decimal("1.50")), ("b", Decimal(2)),
    ]  # fmt: skip


@each_row(
    ("content", "words"),
    [
        (b"", "expected a page of OpenAI's costs"),
        (b"hello", "expected a page"),
        (b"{}", "expected a page"),
        (b"[1]", "expected a page"),
        (b'{"data": [{}]}', "expected a page"),
        (b'{"data": {}}', "expected a list of objects in data"),
        (b'{"data": [', "not valid JSON"),
        (b'{"data": [{"start_time": 1, "results": [{"amount": {"value": NaN}}]}]}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"data": [{"start_time": 1, "results": [{"amount": {"value": 1, "currency": "eur"}}]}]}', "are in eur"),
        (b'{"data": [{"start_time": 1, "results": [{"amount": {"value": "one"}}]}]}', "expected an amount"),
        (b'{"data": [{"start_time": 1, "results": [{"amount": {"value": 1e999}}]}]}', "expected an amount"),
        (b'{"data": [{"start_time": true, "results": []}]}', "expected a time"),
        (b'{"data": [{"start_time": 1e300, "results": []}]}', "expected a time"),
        (b'{"data": [{"start_time": 1, "results": [{"amount": {"value": %s}}]}]}' % (b"9" * 5000), "JSON"),
        (b'{"data": [{"starting_at": "soon", "results": []}]}', "expected a time"),
        (b"day,model,usd\n2026-10-01,m\n", "line 2: 2 cells, expected 3"),
        (b"day,model,usd\n2026-13-01,m,1\n", "line 2, day: expected a time"),
        (b"day,model,usd\n01.10.2026,m,1\n", "line 2, day: expected a day"),
        (b"day,model,usd\n2026-10-01,m,=1+1\n", "line 2, usd: expected an amount"),
        (b"day,model,usd,USD \n2026-10-01,m,1,100\n", "the column usd appears twice"),
        (b"date,model,usage,requests,usage\n", "the column usage appears twice"),
        (b"BilledCost,ChargePeriodStart,ChargeCategory,x_a,x_a\n", "the column x_a appears twice"),
        (b"day,model,usd,input\n2026-10-01,m,1,-5\n", "line 2, input: expected a count"),
        (b"day,model,usd,input\n2026-10-01,m,1,5.5\n", "line 2, input: expected a count"),
        (b"day,model,usd\n2026-10-01,,1\n", "line 2, model: empty"),
        (b"day,model,usd,currency\n2026-10-01,m,1,EUR\n", "line 2: the amounts are in EUR"),
        (b"day;model;usd\n2026-10-01;m;0,0017\n", "line 2, usd: expected an amount"),
        (b'{"data": [{"start_time": 1, "results": [{"amount": {"value": "0,0017"}}]}]}', "expected an amount"),
        (b'day,model,usd\n2026-10-01,"' + b"x" * 200_000, "field larger"),
        *(
            (content, "expected a page of OpenAI's costs")
            for content in (b"PAR1...", b"PK\x03\x04...", b"%PDF-1.7", b"\x1f\x8b...", "day,model,usd".encode("utf-16"))
        ),
    ],
)  # fmt: skip
def test_another_file_is_refused_with_its_name_and_place(tmp_path, content, words):
    with pytest.raises(UnreadableInvoice, match=words) as error:
        read(tmp_path, content)
    assert "file-0" in str(error.value)


@pytest.mark.parametrize("written", ["1,234", "1,234.50", "0,5", "1.234,56", "1_0", "\u0661\u0660", "\uff11"])
def test_an_amount_with_other_characters_than_digits_and_a_point_is_refused(written):
    with pytest.raises(UnreadableInvoice, match="expected an amount"):
        row_of(written).amount("usd")


@each_row("cell", ["1.000.000 tokens", "1,000.5.5 tokens"])
def test_a_unit_that_may_separate_thousands_by_points_is_refused(tmp_path, cell):
    head = "BilledCost,ChargePeriodStart,ChargeCategory,ProviderName,ChargeDescription,ConsumedUnit,ConsumedQuantity"
    row = f'1,2026-10-01,Usage,OpenAI,input,"{cell}",5'
    with pytest.raises(UnreadableInvoice, match="line 2, ConsumedUnit: expected an amount"):
        read(tmp_path, f"{head}\n{row}\n".encode())


def test_ignored_columns_may_have_one_name(tmp_path):
    lines, _ = read(tmp_path, b"day,model,usd,note,note,,\n2026-10-01,m,1,2,3,,\n")
    assert dollars(lines) == 1


def test_unknown_columns_are_noted(tmp_path):
    _, found = read(tmp_path, b"day,model,usd,inputs,tokenz\n2026-10-01,m,1,2,3\n")
    assert found.notes == [f"{tmp_path / 'file-0'}: unknown columns, which were ignored: inputs, tokenz"]


@same_folder
@given(content=st.binary(max_size=300))
def test_no_bytes_are_a_traceback(tmp_path, content):
    _read_or_refuse(tmp_path, content)


@same_folder
@given(form=st.sampled_from(sorted(FORMATS)), place=st.integers(0, 10**6), other=st.binary(max_size=6))
def test_no_damage_is_a_traceback(tmp_path, form, place, other):
    content = next(iter(FORMATS[form][1](traffic(1)).values()))
    place %= len(content)
    for cut in (0, 1, 7):
        _read_or_refuse(tmp_path, content[:place] + other + content[place + cut :])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1.5", "usd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "object", "amount", "value", "currency", "line_item", "model", "results", "input_tokens", "cost_type",
        "output_tokens", "cache_creation", "date", "usage", "requests",
    ]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


MEMBERS = st.sampled_from(["results", "usage", "model", "requests", "end_time"])


@same_folder
@given(first=st.sampled_from(["start_time", "starting_at", "date"]), value=JSON, bucket=st.dictionaries(MEMBERS, JSON))
def test_no_json_is_a_traceback(tmp_path, first, value, bucket):
    _read_or_refuse(tmp_path, json.dumps({"data": [{first: value, **bucket}]}).encode())


def _read_or_refuse(folder: Path, content: bytes) -> None:
    path = folder / "any"
    path.write_bytes(content)
    with contextlib.suppress(UnreadableInvoice):
        for line in read_files([path], ReadFiles()):
            assert line.usd is None or line.usd.is_finite()


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**12), max_value=10**12))
def test_amounts_are_exact(usd):
    assert row_of(f"{usd:f}").amount("usd") == row_of(usd).amount("usd") == usd


def test_amounts_are_no_floats(tmp_path):
    """0.1 + 0.2 is not 0.3 in floats."""
    value = "0.1234567890123456789"
    page = '{"object": "page", "data": [{"start_time": 1790812800, "end_time": 1790899200, "results": [{"amount": '
    lines, _ = read(
        tmp_path, f'{page}{{"value": {value}, "currency": "usd"}}, "line_item": "gpt-5, input"}}]}}]}}'.encode()
    )
    assert dollars(lines) == Decimal(value)
    cents = '{"data": [{"starting_at": "2026-10-01T00:00:00Z", "results": [{"amount": "123.45", "currency": "USD"}]}]}'
    assert dollars(read(tmp_path, cents.encode())[0]) == Decimal("1.2345")


def _pages(*spans: tuple[int, int, bool]) -> list[bytes]:
    return [
        json.dumps({"object": "page", "has_more": more, "data": [
            {"start_time": day * 86400, "end_time": (day + 1) * 86400, "results": [
                {"object": "organization.costs.result", "amount": {"value": 1, "currency": "usd"}, "line_item": None}
            ]} for day in range(first, last)
        ]}).encode()
        for first, last, more in spans
    ]  # fmt: skip


@each_row(
    ("spans", "is_complete"),
    [
        ([(1, 8, False)], True),
        ([(1, 8, True)], False),
        ([(1, 8, True), (8, 15, False)], True),
        ([(8, 15, False), (1, 8, True)], True),
        ([(1, 8, True), (15, 20, False)], False),
        ([(1, 8, True), (8, 15, True)], False),
    ],
)
def test_a_missing_page_is_noticed(tmp_path, spans, is_complete):
    lines, found = read(tmp_path, *_pages(*spans))
    assert (found.is_complete, any("has_more" in note for note in found.notes)) == (is_complete, not is_complete)
    assert len(lines) == sum(last - first for first, last, _ in spans)


def test_a_file_may_be_a_list_of_pages(tmp_path):
    first, second = _pages((1, 8, True), (8, 15, False))
    for mark in (b"", b"\xef\xbb\xbf"):
        lines, found = read(tmp_path, mark + b"[" + first + b"," + second + b"]")
        assert (len(lines), found.is_complete) == (14, True)


def test_a_file_counts_once(tmp_path):
    content = plain_files(traffic())["bill.csv"]
    lines, found = read(tmp_path, content, content)
    assert dollars(lines) == sum(one.usd for one in traffic())
    assert [note for note in found.notes if "counts once" in note] != []


def test_a_large_file_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "cur.csv"
    head, *rows = focus_files(traffic(1))["cur.csv"].splitlines(keepends=True)

    def peak_memory(number: int) -> int:
        with path.open("wb") as file:
            file.write(head)
            file.writelines(rows[:1] * number)
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_files([path], ReadFiles())) == number
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_memory(1)  # what happens once in a process
    small, large = peak_memory(300), peak_memory(900)
    assert large < min(1.1 * small, 2**20)


@each_row(
    ("names", "folded"),
    [
        (("gpt-5", "gpt-5-2025-08-07", "openai/gpt-5", "GPT-5"), "gpt-5"),
        (("claude-sonnet-4-5", "anthropic/claude-sonnet-4.5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
          "claude-sonnet-4-5@20250929", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"), "claude-sonnet-4-5"),
        (("claude-3.5-sonnet", "claude-3-5-sonnet-20241022", "claude-3-5-sonnet-latest"), "claude-3-5-sonnet"),
        (("gpt-4-0613", "gpt-4"), "gpt-4"),
        (("gemini-2.5-pro", "models/gemini-2.5-pro", "google/gemini-2.5-pro"), "gemini-2-5-pro"),
        (("deepseek/deepseek-v3:free", "deepseek-v3"), "deepseek-v3"),
        (("mistral-large-2411", "mistral-large"), "mistral-large"),
        (("amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1:0"), "nova-pro"),
    ],
)  # fmt: skip
def test_names_of_one_model_are_equal(names, folded):
    assert {fold_model(name) for name in names} == {folded}


def test_names_of_different_models_differ():
    names = [
        "gpt-5",
        "gpt-5-mini",
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4.1",
        "o3",
        "o3-mini",
        "claude-opus-4-1",
        "claude-opus-4-5",
    ]
    assert len({fold_model(name) for name in names}) == len(names)


@each_row(
    ("text", "model"),
    [
        ("USE1-Claude4.5Sonnet-input-tokens", "claude-sonnet-4-5"),
        ("USE1-Claude4.5Sonnet-input-tokens-cross-region-global", "claude-sonnet-4-5"),
        ("USW2-Claude4.6Sonnet-cache-read-input-token-count", None),
        ("USE1-Claude4.5Haiku-output-tokens", None),
        ("USE1-anthropic.claude-opus-4-8-mantle-input-tokens-standard", "claude-opus-4-8"),
        ("gpt 4o 0806 Inp glbl 1K Tokens", "gpt-4o"),
        ("gpt-4o-mini-0718-Outp-glbl Tokens", "gpt-4o-mini"),
        ("gpt 4.1 mini cached Inp glbl", None),
        ("Gemini 2.5 Flash Text Input - Predictions", "gemini-2-5-flash"),
        ("Gemini 2.5 Flash Lite Text Input - Predictions", None),
        ("Claude Sonnet 4.5 Usage - Input Tokens", "claude-sonnet-4-5"),
        ("Web Search Usage", None),
    ],
)
def test_models_are_found_in_descriptions_of_clouds(text, model):
    """https://docs.aws.amazon.com/bedrock/latest/userguide/cost-mgmt-understanding-cur-data.html and others' meters."""
    known = [
        "claude-sonnet-4-5",
        "claude-opus-4-8",
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4-1",
        "gemini-2-5-flash",
        "claude-sonnet-4",
    ]
    assert find_model(text, tuple(known)) == model


def test_focus_amounts_are_the_billed_dollars(tmp_path):
    head, first, *_ = focus_files(traffic(1))["cur.csv"].decode().splitlines()
    euros = first.replace("USD", "EUR")
    with pytest.raises(UnreadableInvoice, match="line 2, BillingCurrency: the amounts are in EUR"):
        read(tmp_path, f"{head}\n{euros}\n".encode())
    lines, _ = read(tmp_path, f"{head},x_BilledCostInUsd\n{euros},1.25\n".encode())
    assert dollars(lines) == Decimal("1.25")
