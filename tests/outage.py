"""Simulates an hour of provider outages on trio's mock clock: without retries, with retries, and with a route.

Policy, health, balancing and configuration are the gateway's own. Providers and clients are simulated without sockets.
``python -m tests.outage --svg docs/outage.svg`` draws the hour, ``--away docs/away.svg`` the requests to providers that
are all unavailable, and both print the table for the page.
"""

import argparse
import logging
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final, Literal, TypeAlias

import attrs
import trio
import trio.testing

from gateway.balancing.affinity import Affinity
from gateway.balancing.balancer import Balancer
from gateway.config.attempts import Retries
from gateway.config.loading import from_mapping
from gateway.config.settings import Config
from gateway.health.health import Health, OpenAttempt
from gateway.routing.fallback import has_untried_target
from gateway.routing.plan import GiveUp, Outage, Outcome, Plan, Send
from gateway.routing.router import Router
from gateway.routing.target import Target
from loadtest.reports.plots import HEIGHT, WIDTH, Axis, Series, chart, linear_axis
from streams.events import ErrorInfo, FailureReason

Mode: TypeAlias = Literal["none", "retries", "route"]
MODES: Final[tuple[tuple[Mode, str], ...]] = (
    ("none", "no retries"), ("retries", "retries alone"), ("route", "a route"),
)  # fmt: skip

MINUTE: Final = 60.0
PATIENCE: Final = 60.0
"""Seconds without content after which a client disconnects."""
CACHED: Final = 300.0
"""Seconds for which a provider caches the prompt of a conversation."""
STREAMING: Final = 5.0
"""Seconds of an answer after its first content."""

CONFIG: Final = from_mapping(
    {
        "version": "v0.4.0",
        "model_providers": [
            {"model": "openai/large", "name": "east", "base_url": "http://east.invalid/v1", "access_key": "k-east"},
            {"model": "openai/large", "name": "west", "base_url": "http://west.invalid/v1", "access_key": "k-west"},
            {"model": "anthropic/large", "name": "other", "base_url": "http://other.invalid", "access_key": "k-other"},
        ],
        "model_aliases": {"best": {"targets": [["east", "west"], "other"], "first_content": "10s"}},
    }
)


@attrs.frozen
class Fault:
    """The fate of a ``share`` of the requests to a target: fail for ``reason`` after ``seconds``, or, without a
    reason, begin that much later. ``wait`` is the provider's ``retry-after``."""

    share: float
    reason: FailureReason | None
    seconds: float
    wait: float | None = None


@attrs.frozen
class Trouble:
    """The faults of some targets from one minute to another."""

    begins: float
    ends: float
    places: frozenset[str]
    faults: tuple[Fault, ...]


ONE, BOTH, THIRD = frozenset(("east",)), frozenset(("east", "west")), frozenset(("other",))
ALL = BOTH | THIRD

HOUR: Final = (
    Trouble(0, 60, ALL, (Fault(0.003, "connection", 0.2),)),
    # Connections that break immediately, for a tenth of commands: anthropics/claude-code#82500.
    Trouble(5, 15, ONE, (Fault(0.106, "connection", 0.19),)),
    # Four minutes of nothing but 530: https://status.openai.com/incidents/55qs3vq1m35z (its first wave)
    Trouble(17, 21, BOTH, (Fault(1.0, "server_error", 0.1),)),
    # 45 % of all requests stalled for half a minute: the same report, its second wave.
    Trouble(24, 34, BOTH, (Fault(0.45, None, 30.0),)),
    # 502 and 503, three to one, and then 429 until the end; one test call of 23 passed:
    # https://apicontext.com/openai-outage-chatgpt-down-apimetrics-tells-the-story/
    Trouble(37, 49, BOTH, (Fault(0.72, "server_error", 0.5), Fault(0.24, "overloaded", 0.5))),
    Trouble(49, 55, BOTH, (Fault(0.96, "rate_limited", 0.1, 10.0),)),
    # Meanwhile, everyone uses the other provider, which returns 529 to some (anthropics/claude-code#3547).
    Trouble(38, 46, THIRD, (Fault(0.10, "overloaded", 0.3),)),
)  # fmt: skip

AWAY: Final = (Trouble(2, 6, ALL, (Fault(1.0, "overloaded", 0.3),)),)
"""All providers away for four minutes."""


@attrs.define
class Minute:
    """The counts of one minute, by the time of the client's request."""

    offered: int = 0
    answered: int = 0
    sent: int = 0
    late: list[float] = attrs.field(factory=list)
    follow_ups: int = 0
    hits: int = 0


@attrs.frozen
class Conditions:
    """The conditions of a decision. ``health`` is ``None`` for clients that retry without any knowledge of health."""

    health: Health | None
    random: random.Random
    warm: Callable[[Target], bool]

    @property
    def now(self) -> float:
        return trio.current_time()

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        return None if self.health is None else self.health.outage(target, None, alone=alone)

    def may_add(self, target: Target) -> bool:
        return self.health is None or self.health.may_add(target)

    def is_warm(self, target: Target) -> bool:
        return self.warm(target)

    def jitter(self) -> float:
        return self.random.random()


class Simulation:
    """One run of ``troubles`` in one ``mode``, with ``rate`` requests a second in ``conversations`` conversations."""

    def __init__(self, troubles: Sequence[Trouble], mode: Mode, rate: float, conversations: int = 200) -> None:
        self.minutes: defaultdict[int, Minute] = defaultdict(Minute)
        self._troubles = troubles
        self._rate = rate
        self._conversations = conversations
        self._cached: dict[tuple[str, str], float] = {}
        self._begun: set[str] = set()
        self._routed = mode == "route"
        self._plan = self._plan_for(CONFIG, mode)
        self._random = random.Random(f"{mode} {rate}")
        self._balancer = Balancer(chance=self._random.random)

    @staticmethod
    def _plan_for(config: Config, mode: Mode) -> Plan:
        if mode == "route":
            return Router(config).plan("best", "chat")
        return attrs.evolve(Router(config).plan("east", "chat"), retries=Retries(attempts=1 if mode == "none" else 4))

    def run(self, minutes: float) -> dict[int, Minute]:
        """Return the minutes by their number."""
        trio.run(self._run, minutes * MINUTE, clock=trio.testing.MockClock(autojump_threshold=0))
        return dict(self.minutes)

    async def _run(self, seconds: float) -> None:
        self._health = Health()
        self._health.apply_config(CONFIG)
        self._began = trio.current_time()
        async with trio.open_nursery() as nursery:
            number = 0
            while trio.current_time() - self._began < seconds:
                nursery.start_soon(self._request, number)
                number += 1
                await trio.sleep(self._random.expovariate(self._rate))

    async def _request(self, number: int) -> None:
        own = random.Random(f"{number} of {self._rate}")
        name = f"{number // (self._conversations * 15)}-{own.randrange(self._conversations)}"  # 15 turns or so
        minute = self.minutes[int((trio.current_time() - self._began) // MINUTE)]
        minute.offered += 1
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + PATIENCE
            await _Request(self, own, name, minute, scope).answer()

    # The state that requests share

    def fault(self, target: Target, rng: random.Random) -> Fault | None:
        """Return the fault of a request to ``target`` now, or ``None``."""
        now, drawn = (trio.current_time() - self._began) / MINUTE, rng.random()
        for trouble in self._troubles:
            if trouble.begins <= now < trouble.ends and target.place in trouble.places:
                for fault in trouble.faults:
                    if drawn < fault.share:
                        return fault
                    drawn -= fault.share
        return None


class _Request:
    """One request of a client."""

    def __init__(
        self, whole: Simulation, own: random.Random, conversation: str, minute: Minute, scope: trio.CancelScope
    ) -> None:
        self._whole, self._own, self._name, self._minute, self._scope = whole, own, conversation, minute, scope
        self._affinity = Affinity(conversation.encode(), CACHED, "session")
        self._arrived = trio.current_time()
        self._usual = 0.4 + own.lognormvariate(-1.0, 0.5)
        self._outcomes: list[Outcome] = []
        plan = attrs.evolve(whole._plan, deadline=self._arrived + whole._plan.retries.deadline)
        self._plan = whole._balancer.arrange(plan, self._affinity, self._arrived)
        self._conditions = Conditions(whole._health if whole._routed else None, own, self._is_warm)

    async def answer(self) -> None:
        """Follow the plan as the gateway does."""
        while isinstance(step := self._plan.policy.next(self._plan, self._outcomes, self._conditions), Send):
            if await self._attempt(step):
                return
        assert isinstance(step, GiveUp)

    async def _attempt(self, step: Send) -> bool:
        """Make one attempt, and return whether it was answered.

        It counts while it waits, so that no other request waits for the same target.
        """
        target, loads = step.target, self._whole._balancer.loads
        attempt = self._whole._health.begin(target, None, added=bool(self._outcomes))
        loads.begin_request(target)
        try:
            failed = await self._wait(step.after, attempt) or await self._until_content(target)
            if failed is None:
                self._commit(target, attempt)
                await trio.sleep(STREAMING)
                return True
            attempt.mark_failed(failed)
            self._outcomes.append(Outcome(target, failed))
            return False
        finally:
            attempt.close()
            loads.end_response(target)

    async def _wait(self, seconds: float, attempt: OpenAttempt) -> ErrorInfo | None:
        """Wait until the target may be used, which another failure may delay.

        Return an error if the wait is too long.
        """
        waited = 0.0
        while seconds:
            await trio.sleep(seconds)
            waited += seconds
            seconds = self._whole._health.wait(attempt) if self._whole._routed else 0
            if waited + seconds > self._plan.retries.wait:
                return ErrorInfo("overloaded", "it is still out", reason=None)
        return None

    async def _until_content(self, target: Target) -> ErrorInfo | None:
        self._minute.sent += 1
        fault = self._whole.fault(target, self._own)
        if fault is not None and fault.reason is not None:
            await trio.sleep(fault.seconds)
            return ErrorInfo("upstream", "it failed", reason=fault.reason, wait=fault.wait)
        with trio.move_on_after(self._patience(target)) as patience:
            await trio.sleep(self._usual + (fault.seconds if fault is not None else 0))
        return ErrorInfo("timeout", "no content in time", reason="timeout") if patience.cancelled_caught else None

    def _patience(self, target: Target) -> float:
        route = self._plan.route
        more = route is not None and has_untried_target(self._plan, self._outcomes, target)
        return route.first_content or math.inf if route is not None and more else math.inf

    def _commit(self, target: Target, attempt: OpenAttempt) -> None:
        self._scope.deadline = math.inf  # a client that sees content stays
        attempt.mark_started()
        now, whole, minute = trio.current_time(), self._whole, self._minute
        minute.answered += 1
        minute.late.append(now - self._arrived - self._usual)
        key = (self._name, target.place)
        if self._name in whole._begun:
            minute.follow_ups += 1
            minute.hits += whole._cached.get(key, 0) > now
        whole._begun.add(self._name)
        whole._cached[key] = now + CACHED
        whole._balancer.record_landing(self._plan, target, self._affinity, self._outcomes)

    def _is_warm(self, target: Target) -> bool:
        if not self._whole._routed:
            return False
        return self._whole._cached.get((self._name, target.place), 0) > trio.current_time()


# Figures


@attrs.frozen
class Summary:
    """The results of an hour: shares of 1, requests sent per offered request, and seconds."""

    answered: float
    sent: float
    late: float
    hits: float

    @classmethod
    def of(cls, minutes: dict[int, Minute]) -> "Summary":
        all_ = minutes.values()
        offered, follow_ups = sum(one.offered for one in all_), sum(one.follow_ups for one in all_)
        late = sorted(seconds for one in all_ for seconds in one.late)
        return cls(
            sum(one.answered for one in all_) / offered,
            sum(one.sent for one in all_) / offered,
            late[int(len(late) * 0.99)] if late else math.nan,
            sum(one.hits for one in all_) / max(1, follow_ups),
        )

    def row(self) -> tuple[str, ...]:
        """Return the results in the format of the page."""
        late = f"{self.late:.1f} s"
        return f"{100 * self.answered:.1f} %", f"{self.sent:.2f}", late, f"{100 * self.hits:.0f} %"


HEADS: Final = ("answered", "provider requests for each", "added delay, 99th percentile", "follow-ups from the cache")


def table(found: dict[Mode, dict[int, Minute]]) -> list[str]:
    """Return the lines of the page's table."""
    rows = [(label, *Summary.of(found[mode]).row()) for mode, label in MODES]
    return [
        "| " + " | ".join(("", *HEADS)) + " |",
        "|---" * (1 + len(HEADS)) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


# Drawing


STYLE: Final = """
:root { color-scheme: light dark; --card: #f6f7f9; --text: #1c2024; --soft: #60646c; --line: #d9dce1; --s0: #b3541e;
  --s1: #8250df; --s2: #1f6feb; }
@media (prefers-color-scheme: dark) { :root { --card: #1d2127; --text: #e8eaed; --soft: #a2a9b3; --line: #343a42;
  --s0: #f2a65a; --s1: #c297ff; --s2: #6cb0ff; } }
text { font: 14px system-ui, sans-serif; fill: var(--soft); }
.title { font-size: 17px; font-weight: 600; fill: var(--text); }
svg { overflow: visible; }
path { fill: none; stroke-linecap: round; stroke-width: 2; } .card { fill: var(--card); } circle { fill: transparent; }
.grid { stroke: var(--line); stroke-width: 1; }
.s0 { stroke: var(--s0); stroke-dasharray: 2 5; } .s1 { stroke: var(--s1); stroke-dasharray: 8 5; }
.s2 { stroke: var(--s2); stroke-width: 2.5; }
"""
MARGIN, TOP, GAP, COLUMNS = 12, 62, 16, 2


@attrs.frozen
class Panel:
    title: str
    y: Axis
    series: tuple[Series, ...]

    def draw(self, x: Axis, at: tuple[int, int]) -> str:
        """Return a ``<g>`` with the panel at a position of the drawing."""
        figure = chart(self.title, x, self.y, self.series, "minutes")
        only = figure.partition('<svg class="chart"')[2].removesuffix("</figure>")
        keys = "".join(
            f'<path class="s{one.colour}" d="M{MARGIN + 200 * i} 43h24"/>'
            f'<text x="{MARGIN + 200 * i + 32}" y="48">{escape(one.label)}</text>'
            for i, one in enumerate(self.series)
        )
        return (
            f'<g transform="translate({at[0]} {at[1]})"><rect class="card" width="{WIDTH + 2 * MARGIN}" '
            f'height="{HEIGHT + TOP + MARGIN}" rx="8"/>'
            f'<text class="title" x="{MARGIN}" y="26">{escape(self.title)}</text>{keys}'
            f'<svg x="{MARGIN}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}"{only}</g>'
        )


def drawing(heading: str, panels: Sequence[Panel], minutes: int) -> str:
    """Return an SVG that looks the same inside an ``<img>``, for light and dark mode."""
    x = linear_axis(minutes, "{:g}".format)
    x = attrs.evolve(x, high=minutes, ticks=[tick for tick in x.ticks if tick <= minutes])
    wide, high = WIDTH + 2 * MARGIN + GAP, HEIGHT + TOP + MARGIN + GAP
    drawn = [panel.draw(x, (i % COLUMNS * wide, i // COLUMNS * high)) for i, panel in enumerate(panels)]
    width, height = min(COLUMNS, len(panels)) * wide - GAP, -(-len(panels) // COLUMNS) * high - GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{escape(heading)}</title><style>{STYLE}</style>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def lines(found: dict[Mode, dict[int, Minute]], value: Callable[[Minute], float]) -> tuple[Series, ...]:
    return tuple(
        Series(label, [(minute + 0.5, value(one)) for minute, one in sorted(found[mode].items())], i)
        for i, (mode, label) in enumerate(MODES)
        if mode in found
    )


def _p95(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 19 else math.nan


def hour_drawn(found: dict[Mode, dict[int, Minute]], minutes: int) -> str:
    percent: Callable[[float], str] = "{:.0f} %".format
    answered = lines(found, lambda one: 100 * one.answered / one.offered if one.offered else math.nan)
    sent = lines(found, lambda one: one.sent / one.offered if one.offered else math.nan)
    late = lines(found, lambda one: _p95(one.late))
    hits = lines(found, lambda one: 100 * one.hits / one.follow_ups if one.follow_ups else math.nan)
    most_late = max((y for one in late for _, y in one.points if not math.isnan(y)), default=1.0)
    panels = (
        Panel("Answered", linear_axis(100, percent), answered),
        Panel("Provider requests for each client request", linear_axis(4, "{:g}".format), sent),
        Panel("Added delay of the first content, 95th percentile", linear_axis(most_late, "{:g} s".format), late),
        Panel("Follow-ups whose prompt was in the cache", linear_axis(100, percent), hits),
    )
    return drawing("One hour of provider trouble", panels, minutes)


def away_drawn(found: dict[Mode, dict[int, Minute]], minutes: int) -> str:
    offered = Series("offered", [(at + 0.5, one.offered / MINUTE) for at, one in sorted(found["route"].items())], 0)
    sent = lines(found, lambda one: one.sent / MINUTE)
    most = max(y for one in (offered, *sent) for _, y in one.points)
    answered = lines(found, lambda one: 100 * one.answered / one.offered if one.offered else math.nan)
    panels = (
        Panel("Requests a second that reach providers", linear_axis(most, "{:g}".format), (offered, *sent)),
        Panel("Answered", linear_axis(100, "{:.0f} %".format), answered),
    )
    return drawing("All providers away for four minutes", panels, minutes)


def simulate(
    troubles: Sequence[Trouble], modes: Sequence[Mode], minutes: float, rate: float
) -> dict[Mode, dict[int, Minute]]:
    """Return the minutes of each mode."""
    found: dict[Mode, dict[int, Minute]] = {}
    for mode in modes:
        run = Simulation(troubles, mode, rate).run(minutes)
        found[mode] = {number: one for number, one in run.items() if number < minutes}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the hour into FILE")
    parser.add_argument("--away", type=Path, metavar="FILE", help="draw what reaches providers that are all away")
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second (default: 5)")
    options = parser.parse_args()
    logging.getLogger("trigate.health").disabled = True  # it would log each target's outages
    hour = simulate(HOUR, [mode for mode, _ in MODES], 60, options.rate)
    print("\n".join(table(hour)))
    if options.svg is not None:
        options.svg.write_text(hour_drawn(hour, 60))
    if options.away is not None:
        away = simulate(AWAY, ["retries", "route"], 10, 4 * options.rate)
        options.away.write_text(away_drawn(away, 10))


if __name__ == "__main__":
    main()
