"""No field of any API is lost without a report, in any direction, and the page about it is true."""

from collections import Counter

import pytest

from streams.events import APIS
from tests.pages.translation import NO_EFFECT, PAGE, all_outcomes, no_effect, outcomes, reference
from tests.support.sdk_fields import PARAMS, samples

PAIRS = [(api, target) for api in PARAMS for target in APIS if api != target]


@pytest.mark.sample(4, by="turns")
@pytest.mark.parametrize(("api", "target"), PAIRS)
def test_every_field_of_the_sdks_is_mapped_dropped_by_name_or_refused(api, target):
    lost = [
        sample.name
        for sample, outcome in outcomes(api, target)
        if outcome.word == "lost" and no_effect(sample) is None
    ]  # fmt: skip
    assert lost == []


def test_the_walk_reaches_all_of_the_types():
    counts = Counter(sample.api for api in PARAMS for sample in samples(api))
    assert counts["chat"] > 100
    assert counts["messages"] > 2000
    assert counts["responses"] > 600


@pytest.mark.soak
def test_no_reason_for_having_no_effect_is_left_over():
    used = {no_effect(sample) for sample, _, outcome in all_outcomes() if outcome.word == "lost"}
    assert used == set(NO_EFFECT.values())


@pytest.mark.soak
def test_the_page_is_what_the_code_does():
    assert PAGE.read_text() == reference(), "run: python -m tests.pages.translation"
