"""Simulated outages: a route protects clients, and spares providers."""

import logging
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import pytest

from tests.outage import (
    ALL,
    BOTH,
    MODES,
    Fault,
    Minute,
    Mode,
    Summary,
    Trouble,
    away_drawn,
    hour_drawn,
    simulate,
    table,
)
from tests.support.each_row import each_row
from tests.support.repository import ROOT

SVG = "{http://www.w3.org/2000/svg}"
GONE = (Fault(1.0, "server_error", 0.1),)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    log = logging.getLogger("trigate.health")
    before, log.disabled = log.disabled, True
    yield
    log.disabled = before


def both_ways(*troubles: Trouble, minutes: int = 6, rate: float = 2) -> dict[Mode, dict[int, Minute]]:
    return simulate(troubles, ("retries", "route"), minutes, rate)


@pytest.mark.slow
def test_a_provider_that_is_away_costs_a_route_no_answer_and_next_to_no_requests():
    """An outage of one provider affected everyone: envoyproxy/ai-gateway#1866, BerriAI/litellm#28216."""
    found = both_ways(Trouble(0, 3, BOTH, GONE), minutes=4)
    alone, routed = Summary.of(found["retries"]), Summary.of(found["route"])
    assert alone.answered < 0.5
    assert routed.answered == 1
    assert routed.sent < 1.2 < alone.sent
    assert routed.late < 2


@pytest.mark.soak
def test_unavailable_providers_get_few_requests_and_recover_immediately():
    """Retries multiplied one provider's limit into thousands of refusals: bman654/clodex#81, ray-project/ray#64399."""
    found = both_ways(Trouble(0, 2, ALL, GONE), minutes=4, rate=4)
    away = [found["route"][minute] for minute in (0, 1)]
    offered, sent = sum(one.offered for one in away), sum(one.sent for one in away)
    assert sent < 0.1 * offered
    assert sum(found["retries"][minute].sent for minute in (0, 1)) > 3 * offered
    back = found["route"][2]
    assert back.answered > 0.6 * back.offered  # a trial every 20 s at the latest
    assert found["route"][3].answered == found["route"][3].offered


@pytest.mark.soak
def test_trouble_that_opens_no_circuit_is_held_to_the_budget():
    """Retries add a fifth to the clients' requests, and three a second."""
    found = both_ways(Trouble(0, 6, ALL, (Fault(0.2, "overloaded", 0.1),)), rate=10)
    for one in found["route"].values():
        assert one.sent <= one.offered * 1.2 + 3 * 3 * 60  # three providers' endpoints
    assert Summary.of(found["route"]).answered > Summary.of(found["retries"]).answered - 0.05


@pytest.mark.soak
@pytest.mark.parametrize("reason", ["server_error", "overloaded", "connection"])
def test_providers_that_all_fail_often_are_not_taken_out_all_together(reason):
    """A route answered 70 % of requests while plain retries answered 97 %, and 18 % at twenty a second."""
    found = both_ways(Trouble(0, 6, ALL, (Fault(0.4, reason, 0.1),)), minutes=3, rate=2)
    assert Summary.of(found["retries"]).answered > 0.95
    assert Summary.of(found["route"]).answered > 0.9
    busy = simulate((Trouble(0, 1, ALL, (Fault(0.4, reason, 0.1),)),), ("route",), 1, 20)["route"]
    assert Summary.of(busy).answered > 0.6  # the retry budget allows no more
    for one in busy.values():
        assert one.sent <= one.offered * 1.2 + 3 * 3 * 60


@pytest.mark.slow
def test_a_silent_provider_costs_patience_and_no_more():
    found = both_ways(Trouble(0, 2, BOTH, (Fault(1.0, None, 59.0),)), minutes=3)
    assert Summary.of(found["route"]).answered > 0.95
    late = sorted(seconds for one in found["route"].values() for seconds in one.late)
    assert late[-1] <= 20.5  # twice the timeout, if both accounts are silent


@each_row(("name", "panels"), [("outage", 4), ("away", 2)])
def test_the_outage_charts_need_no_other_file(name, panels):
    text = (ROOT / f"docs/{name}.svg").read_text()
    drawing = ElementTree.fromstring(text)
    assert len(drawing.findall(f"{SVG}g")) == panels
    assert "@media (prefers-color-scheme: dark)" in text
    assert not re.search(r"href=|url\(|@import|<script", text)


def test_they_are_drawn_from_what_was_simulated():
    minutes = {0: Minute(10, 9, 12, [0.1] * 30, 5, 4), 1: Minute(10, 10, 10, [], 0, 0)}
    found = {mode: minutes for mode, _ in MODES}
    assert hour_drawn(found, 2).count('class="title"') == 4
    assert away_drawn(found, 2).count('class="title"') == 2
    assert table(found)[-1] == "| a route | 95.0 % | 1.10 | 0.1 s | 80 % |"
    assert math.isnan(Summary.of({0: Minute(1)}).late)


def test_the_page_has_the_table_of_the_three():
    page = (ROOT / "docs/routing.md").read_text()
    rows = re.findall(r"^\| (no retries|retries alone|a route) \| ([\d.]+) % \|", page, re.MULTILINE)
    assert [label for label, _ in rows] == [label for _, label in MODES]
    assert float(rows[-1][1]) > 99 > 80 > float(rows[1][1]) > float(rows[0][1])
