"""No field of any API is lost without a report, in any direction, and the page about it is true."""

from collections import Counter
from collections.abc import Hashable

import pytest

from streams.events import APIS
from tests.pages.translation import NO_EFFECT, PAGE, all_outcomes, no_effect, outcome_of, reference
from tests.support.each_row import each_row
from tests.support.sdk_fields import PARAMS, Sample, samples
from tests.support.spread import spread


@each_row("api", PARAMS)
def test_every_field_of_the_sdks_is_mapped_reported_or_refused(api):
    """Each field of an object is translated for every other API, at one of its places in a request."""
    others = [target for target in APIS if target != api]
    lost = [
        (sample.name, target)
        for sample, targets in spread(samples(api), kind_of, others)
        if no_effect(sample) is None
        for target in targets
        if outcome_of(sample, target).word == "lost"
    ]  # fmt: skip
    assert lost == []


def kind_of(sample: Sample) -> Hashable:
    """Return the innermost object and its field; objects of one type share their reader."""
    return sample.kinds[-1:], sample.path.rpartition(".")[2]


def test_the_walk_reaches_all_of_the_types():
    counts = Counter(sample.api for api in PARAMS for sample in samples(api))
    assert counts["chat"] > 100
    assert counts["messages"] > 2000
    assert counts["responses"] > 600


@pytest.mark.soak
def test_every_reason_for_a_missing_effect_is_needed():
    used = {no_effect(sample) for sample, _, outcome in all_outcomes() if outcome.word == "lost"}
    assert used == set(NO_EFFECT)


@pytest.mark.soak
def test_the_page_matches_the_code():
    assert PAGE.read_text() == reference(), "run: python -m tests.pages.translation"
