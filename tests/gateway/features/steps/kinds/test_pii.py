"""The kind ``pii`` finds personal data by format and checksum, however a stream is cut.

The numbers are those of public examples; their checksums are correct."""

import base64
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configfile.wording import Wrong
from gateway.features.steps.kinds.pii import ALL, PiiSettings, PiiStep
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.step_pieces import check_cuts, find_in_pieces, find_texts

STEP: Final = PiiStep(PiiSettings())

VALUES: Final = {
    "joe.doe+x@mail.example.com": "email",
    "josé@exämple.de": "email",
    "4111 1111 1111 1111": "card",
    "378282246310005": "card",
    "3782 822463 10005": "card",
    "5555-5555-5555-4444": "card",
    "DE89 3704 0044 0532 0130 00": "iban",
    "GB29NWBK60161331926819": "iban",
    "FR14 2004 1010 0505 0001 3M02 606": "iban",
    "MT84 MALT 0110 0001 2345 MTLC AST0 01S": "iban",
    "192.168.3.44": "ip",
    "2001:db8::8a2e:370:7334": "ip",
    "fe80::1ff:fe23:4567:890a": "ip",
    "+1 (555) 123-4567": "phone",
    "(212) 555-1234": "phone",
    "212-555-1234": "phone",
    "+49 30 901820": "phone",
    "030 901820123": "phone",
    "01 23 45 67 89": "phone",
    "+442079460958": "phone",
    "078-05-1120": "us_ssn",
    "AB 12 34 56 C": "uk_nino",
    "QQ123456C".replace("QQ", "JX"): "uk_nino",
    "86095742719": "de_tax_id",
    "1 84 12 76 451 089 46": "fr_nir",
    "12345678Z": "es_dni",
    "X1234567L": "es_dni",
    "RSSMRA85T10A562S": "it_codice_fiscale",
    "44051401359": "pl_pesel",
    "529.982.247-25": "br_cpf",
    "2341 2341 2346": "in_aadhaar",
}  # fmt: skip


@each_row(("value", "label"), VALUES.items())
def test_a_value_is_found_in_a_sentence_and_in_json(value, label):
    for text in (f"it is {value}, or so", f"It is {value}.", f'{{"a":"{value}"}}', f"<{value}>", value):
        assert find_texts(STEP, text) == [(label, value)], text


@each_row(("text", "label"), [
    ("BSN: 111222333", "nl_bsn"), ("the cpf is 52998224725", "br_cpf"), ("Aadhaar no. 234123412346", "in_aadhaar"),
])  # fmt: skip
def test_a_common_format_needs_its_name(text, label):
    number = "".join(char for char in text if char.isdigit())
    assert find_texts(STEP, text) == [(label, number)]
    assert find_texts(STEP, f"item {number}") == []


@each_row(
    "text",
    [
        "4111 1111 1111 1112 and 1234 5678 9012 3456 and 0000 0000 0000 0000",
        "DE89 3704 0044 0532 0130 01, XX89 3704 0044 0532 0130 00",
        "127.0.0.1, 0.0.0.0, ::1, 1.2.3.4.5, 300.1.1.1, std::vector, a::b, 12:30:45",
        "on 01-02-2023 10:30, at 2023-01-02 12:00:00, 01/02/2023, version 1.2.3, port 8080, 3.14159265358979",
        "000-12-3456, 666-12-3456, 900-12-3456, 123-00-1234, 123-45-0000",
        "86095742710, 12345678A, RSSMRA85T10A562T, 44051401358, 529.982.247-26, 2341 2341 2347",
        "git@github.com:owner/name.git, @someone, a@b, me@localhost",
        "550e8400-e29b-41d4-a716-446655440000 and 1700000000000 and 0x4111111111111111",
    ],
)
def test_wrong_checksums_dates_and_code_are_no_findings(text):
    assert find_texts(STEP, text) == []


def test_encoded_and_hidden_values_are_found():
    encoded = base64.b64encode(b"contact joe@example.com now").decode()
    assert find_texts(STEP, encoded) == [("email", base64.b64encode(b"t joe@example.com ").decode())]
    assert find_texts(STEP, "q=joe%40example.com") == [("email", "joe%40example.com")]
    assert find_texts(STEP, "4111\u200b 1111 1111 1111!") == [("card", "4111\u200b 1111 1111 1111")]
    assert find_texts(STEP, "４１１１ 1111 1111 1111") == [("card", "４１１１ 1111 1111 1111")]
    assert find_texts(STEP, "请联系joe＠example．com谢谢") == [("email", "joe＠example．com")]


def test_labels_select_the_values():
    step = PiiStep(PiiSettings(("card", "email")))
    assert step.labels == ("email", "card")
    assert find_texts(step, "joe@example.com +49 30 901820 4111111111111111") == [
        ("card", "4111111111111111"),
        ("email", "joe@example.com"),
    ]


def test_a_card_after_other_numbers_is_found():
    text = "1234 4111 1111 1111 1111 123"
    assert find_texts(STEP, text) == [("card", "4111 1111 1111 1111")]


pieces = st.lists(
    st.sampled_from(
        (
            "joe", "@", "example.com", ".", "4111", " ", "1111", "1111 1111 1111", "-", "+1 ", "(555)", "a", "DE89",
            "3704 0044 0532 0130 00", "é", "\u200b", "\0", "A" * 3000, "12 " * 900, "1", "USA", "MTLC", "x", "8" * 600,
            base64.b64encode(b"joe@example.com x").decode(), "ﬁ", "½", "bsn ", "111222333", ":", "2001:", "db8::1",
            "192.168.", "3.44", "中", "078-05-1120", "12345678Z",
        )
    ),
    max_size=12,
).map("".join)  # fmt: skip


@settings(max_examples=examples(60))
@given(text=pieces, cuts=st.lists(st.integers(0, 20000), max_size=20))
def test_findings_do_not_depend_on_how_a_stream_is_cut(text, cuts):
    check_cuts(STEP, text, cuts)


@each_row(("value", "label"), VALUES.items())
def test_no_part_of_a_value_is_released_before_the_rest(value, label):
    text = f"it is {value} today"
    for length in range(len(text)):
        safe = STEP.open_tail(text[:length])
        assert not 6 < safe < 6 + len(value), (text[:length], safe)
    assert find_in_pieces(STEP, text, range(len(text))) == [(label, 6, 6 + len(value))]


def test_words_are_released_one_by_one():
    assert STEP.open_tail("the quick brown fo") == 16
    assert STEP.open_tail("the quick brown fox ") == 20
    assert STEP.open_tail("call 12 ") == 5
    assert STEP.open_tail("我们今天去公园") == 7
    assert set(STEP.labels) == set(ALL)


def test_an_empty_list_of_labels_is_a_mistake():
    with pytest.raises(Wrong) as wrong:
        PiiStep(PiiSettings(labels=()))
    assert (wrong.value.found, wrong.value.expected[:33]) == ("`labels` is empty", "list at least one label, or remov")
