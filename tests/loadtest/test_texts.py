"""The texts of prompts that are made here, their beginnings, and their lengths in a server's tokens."""

import random
from statistics import mean

import pytest

from configfile.wording import Wrong
from loadtest.plan.lengths import SharedPrefixes, read_prefixes
from loadtest.requests.made_requests import ANSWERS, Calibration, PromptTexts


def begins(mark: str, number: int = 300) -> set[str]:
    texts, rng = PromptTexts(mark), random.Random(1)
    return {texts.prompt(n, 400, rng)[:10] for n in range(number)}


def test_no_prompt_shares_its_beginning_with_another_prompt():
    """What a server has cached is found by its beginning (vllm-project/vllm#52884, #53920)."""
    first, second = begins("run 1 target a"), begins("run 1 target b")
    assert (len(first), len(second)) == (300, 300)
    assert not first & second


def test_a_text_has_the_requested_length_in_plain_ascii():
    texts, rng = PromptTexts("m"), random.Random(1)
    for size in (12, 13, 400, 99_999, 100_000, 1_234_567):
        text = texts.prompt(1, size, rng)
        assert len(text) == size, size
        assert text.isascii()
        assert '"' not in text
    assert len(texts.prompt(1, 1, rng)) == 12  # the mark is never left out


def test_texts_of_many_words_do_not_repeat_themselves_soon():
    """A server that guesses tokens from those before would guess right."""
    text = PromptTexts("m").prompt(1, 20_000, random.Random(3))
    pieces = [text[i : i + 40] for i in range(0, len(text) - 40, 40)]
    assert len({*pieces}) == len(pieces)


def test_a_shared_text_is_always_the_same():
    texts = PromptTexts("m")
    assert texts.shared("prefix 1", 4000) == texts.shared("prefix 1", 4000)
    assert texts.shared("prefix 1", 4000).startswith(texts.shared("prefix 1", 2000))
    assert texts.shared("prefix 1", 40)[:10] != texts.shared("prefix 2", 40)[:10]
    assert texts.shared("prefix 1", 40) != PromptTexts("other").shared("prefix 1", 40)


def test_a_prefix_is_a_share_a_length_and_a_number_of_texts():
    assert read_prefixes("80%:4000:10") == SharedPrefixes(0.8, 4000, 10)
    assert read_prefixes("0.5:100") == SharedPrefixes(0.5, 100, 1)
    for wrong in ("80%", "180%:4000:10", "0%:4000:10", "80%:0:10", "80%:10:0", "80%:10:99999", 80, None, "80:4000:10"):
        with pytest.raises(Wrong) as caught:
            read_prefixes(wrong)
        assert "such as 80%:4000:10" in caught.value.expected, wrong


# Tokens


def learned(server, asked):
    """What a server counts, by ``server(characters)``, where prompts of ``asked`` tokens are made for it."""
    calibration, counted = Calibration(), []
    for tokens in asked:
        characters = calibration.prompt_length(tokens)
        counted.append(server(characters))
        calibration.add_count(characters, counted[-1])
    return calibration, counted


def test_a_thousand_requested_tokens_are_a_thousand_by_the_servers_count():
    """Lengths by a fixed number of characters missed by a third and more (fw-ai/benchmark#92)."""
    calibration, counted = learned(lambda characters: round(characters / 3), [1000] * 40)
    assert counted[0] == 1333
    assert mean(counted[1:]) == pytest.approx(1000, rel=0.02)
    assert calibration.part_length(1000) == pytest.approx(3000, rel=0.02)
    assert calibration.answers == ANSWERS


def test_common_tokens_are_calibrated_from_prompts_of_different_lengths():
    rng = random.Random(1)
    asked = [rng.randint(50, 2000) for _ in range(200)]
    for common in (0, 12, 40):
        _, counted = learned(lambda characters, common=common: common + round(characters / 5.1), asked)
        wrong = [abs(got - want) / want for got, want in zip(counted[30:], asked[30:], strict=True)]
        assert max(wrong) < 0.03, common


def test_short_prompts_with_a_long_template_come_to_their_length_too():
    _, counted = learned(lambda characters: 10 + round(characters / 3), [30] * 30)
    assert mean(counted[5:]) == pytest.approx(30, rel=0.05)


def test_an_uneven_tokenizer_is_met_on_average():
    rng = random.Random(2)
    _, counted = learned(lambda characters: max(1, round(characters / 4.4 * rng.gauss(1, 0.03))), [500] * 300)
    assert mean(counted[5:]) == pytest.approx(500, rel=0.02)


def test_answers_that_count_nothing_teach_nothing():
    calibration, _ = learned(lambda characters: 0, [100] * 5)
    assert (calibration.answers, calibration.prompt_length(100)) == (0, 400)


def test_prompts_do_not_grow_for_a_server_that_says_the_same_of_each():
    for said in (1, 10**9):
        calibration, _ = learned(lambda characters, said=said: said, [20] * 50)
        assert (calibration.answers, calibration.prompt_length(20)) == (0, 80), said
