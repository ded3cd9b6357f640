"""A sign or letter that looks like ASCII does not hide the value next to it (https://www.unicode.org/reports/tr39/)."""

import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.features.steps.kinds.normal import LONGEST_GAP
from gateway.features.steps.kinds.pii import PiiSettings, PiiStep
from gateway.features.steps.kinds.regex import RegexSettings, RegexStep
from gateway.features.steps.kinds.secrets import SecretsSettings, SecretsStep
from tests.support.each_row import each_row
from tests.support.step_pieces import find, find_in_pieces, find_texts
from trigate.steps import Check, Passage

CARD: Final = "4111 1111 1111 1111"
KEY: Final = "AKIA" + "QY6Z5X4W3V2U7TAR"
STEPS: Final[dict[str, Any]] = {
    "pii": PiiStep(PiiSettings()),
    "secrets": SecretsStep(SecretsSettings()),
    "regex": RegexStep(RegexSettings(patterns={"project": "falcon-[0-9]+"})),
}
VALUES: Final = {
    "pii": (CARD, "(212) 555-0147", "0170 1234567", "192.168.17.23", "078-05-1120", "DE89370400440532013000"),
    "secrets": (KEY, "ghp_" + "a1B2c3D4e5" * 3 + "F6g7h8"),
    "regex": ("falcon-12",),
}
NEIGHBOURS: Final = (
    "№", "℡", "①", "¹", "™", "…", "。", "—", "–", "⑴", "㎏", "㈱", "а", "с", "\u200b", "\ufe0f", "Ⅷ", "½", "\0",
)  # fmt: skip


@each_row("neighbour", NEIGHBOURS)
@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in VALUES.items() for value in values])
def test_a_value_is_found_next_to_each_character(kind, value, neighbour):
    for text in (f"see {neighbour}{value}, or", f"see {value}{neighbour} now", f"{neighbour}{value}{neighbour}"):
        found = find(STEPS[kind], text)
        assert any(value in text[start:end] for _, start, end in found), text
        for cut in range(1, len(text)):
            assert find_in_pieces(STEPS[kind], text, [cut]) == found, (text, cut)


def test_a_value_in_full_width_is_found_next_to_a_sign():
    wide = "４１１１ １１１１ １１１１ １１１１"
    assert find_texts(STEPS["pii"], f"№{wide}, please") == [("card", wide)]


def test_a_finding_in_both_copies_counts_once():
    (found,) = STEPS["pii"](_check(f"… {CARD} …"))
    assert (found.start, found.end) == (2, 2 + len(CARD))


@given(st.lists(st.sampled_from((*NEIGHBOURS, CARD, KEY, "ann@corp.example", " ", "word", "7")), max_size=9), st.data())
def test_findings_do_not_depend_on_cuts(parts, data):
    text = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4))
    for step in STEPS.values():
        assert find_in_pieces(step, text, cuts) == find(step, text)


@each_row("gap", ["\u0301", "\u200b", "\u0301\u200b", "\0", "\x01", "\x7f", "\x80", "\ue000"])
def test_values_with_short_gaps_are_found_and_a_long_gap_ends_a_value(gap):
    short = f"4111{gap * 100} 1111 1111 1111"
    assert find_texts(STEPS["pii"], short) == [("card", short)]
    text = f"a{gap * (LONGEST_GAP + 1)}{CARD}"
    assert find_texts(STEPS["pii"], text)[-1] == ("card", CARD)
    assert STEPS["pii"].open_tail(text[: -len(CARD)]) > LONGEST_GAP


@pytest.mark.parametrize("kind", STEPS)
def test_a_stream_of_invisible_characters_takes_linear_time(kind):
    def seconds(size: int) -> float:
        text = "a" + "\u0301" * size
        began = time.process_time()
        find_in_pieces(STEPS[kind], text, range(1, size, 10))
        return time.process_time() - began

    seconds(100)
    assert seconds(8_000) < 9 * max(seconds(2_000), 0.01)


def _check(text: str) -> Check:
    return Check("response", (Passage("assistant", "content", text),))
