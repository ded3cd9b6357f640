"""No field of any API is lost without a report, in any direction, and the page about it is true."""

import re
from collections import Counter
from collections.abc import Hashable

import msgspec
import pytest

from streams.errors import GatewayError
from streams.events import APIS
from tests.pages.translation import NO_EFFECT, PAGE, all_outcomes, no_effect, outcome_of, reference, translate
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


@each_row("api", PARAMS)
def test_every_reported_path_ends_with_a_member_of_the_request(api):
    """Some paths omit a step."""
    unknown = []
    for sample, targets in spread(samples(api), kind_of, [target for target in APIS if target != api]):
        members = re.findall(r'"(\w+)":', msgspec.json.encode(sample.with_field).decode())
        for target in targets:
            try:
                dropped = translate(api, sample.with_field, target).dropped
            except GatewayError:
                continue
            names = (path.partition(": ")[0].rpartition(".")[2].removesuffix("[]") for path in dropped)
            if not all(name and any(member.endswith(name) for member in members) for name in names):
                unknown.append((sample.name, target, dropped))
    assert unknown == []


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
