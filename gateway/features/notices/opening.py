"""Opens the notices of a configuration: finds the steps that budgets have reached, and sends a notice for each.

A claim on a counter with room for one decides which worker or gateway sends. It is held while the notice is under way,
so that another process continues if this one dies, and is settled once the receiver has the notice."""

import base64
import hashlib
import hmac
import html
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

import attrs
import msgspec
import trio

from gateway.allowances.allowance import Allowance, counter_key
from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import BudgetAllowance
from gateway.allowances.refusals import LimitError, present_text
from gateway.config.amounts import spelled_amount
from gateway.config.settings import Config
from gateway.counters.counter import Debit, SumCounter, new_claim
from gateway.features.notices.feature import Receiver, receivers_of
from gateway.http.headers import Headers
from gateway.http.urls import host_of_url
from gateway.ledger.record import Record
from gateway.seams.hooks import Hooks
from gateway.seams.observe import ExchangeObserver
from gateway.seams.running import Ports, Running
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from providers.catalog.prices import NANOS
from streams.errors import GatewayError

log = logging.getLogger("trigate.notices")

INTERVAL: Final = 1.0
"""Seconds between checks of budgets, after which the amounts of exchanges are confirmed."""
PAUSES: Final = tuple(min(2.0**number, 600.0) for number in range(16))
"""Seconds after failed attempts, together 77 minutes."""
ATTEMPT: Final = 10.0
"""Seconds for an attempt."""
MOST: Final = 1000
"""Notices for a receiver under way in this process; others are claimed later."""
PLACES: Final = 8
"""Attempts at a receiver at the same time. No receiver waits for another one."""
_MOST_KNOWN: Final = 100_000

_Mark: TypeAlias = tuple[BudgetAllowance, SumCounter, bool]
"""A budget to check, its counter, and whether a request did not fit into the rest."""


class Notices(ExchangeObserver):
    """The notices of a process, which outlive configurations."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._marks: dict[bytes, _Mark] = {}
        self._settled: dict[bytes, float] = {}  # the times until which notices are settled, by the keys of claims
        self._under_way: Counter[str] = Counter()  # notices by the URLs of receivers
        self._places: WeakValueDictionary[str, trio.CapacityLimiter] = WeakValueDictionary()

    def use(self, receivers: tuple[Receiver, ...], allowances: Allowances) -> None:
        """Use another configuration from now on."""
        self._receivers, self._allowances, self._counters = receivers, allowances, allowances.counters
        self._of_entries = tuple(one for one in allowances.list_all() if one.holder.kind == "model_providers")

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        """Check the budgets of ``record`` soon, in the period in which it began."""
        rejecting = record.error.exhausted if isinstance(record.error, LimitError) else ()
        at = self._counters.now() - (time.perf_counter() - record.began)
        for budget, counter, _ in _marks_of((*self._allowances.of_client(record.client), *self._of_entries), at):
            self._mark((budget, counter, budget in rejecting))

    def _mark(self, mark: _Mark) -> None:
        """Check the budget of ``mark`` at the next check."""
        budget, counter, rejects = mark
        self._marks[counter.key] = budget, counter, rejects or self._marks.get(counter.key, mark)[2]

    async def run(self, ending: trio.Event) -> None:
        """Check budgets until ``ending`` is set, and once more."""
        for mark in _marks_of(self._allowances.list_all(), self._counters.now()):
            if self._counters.remote:  # which knows the notices that an earlier process has not sent
                self._marks[mark[1].key] = mark
            else:  # reached before a restart, after which budgets may continue
                self._settled.update((counter.key, counter.until) for _, counter, _ in self._find_reached(mark))
        async with self._upstream, trio.open_nursery() as nursery:
            while not ending.is_set():
                with trio.move_on_after(INTERVAL):
                    await ending.wait()
                marks, self._marks = self._marks, {}
                is_current = await self._counters.refresh([counter for _, counter, _ in marks.values()])
                for mark in marks.values():
                    if not is_current:  # another gateway may send the same notice, or the amounts reach no step yet
                        self._mark(mark)
                        continue
                    for receiver, counter, figures in self._find_reached(mark):
                        if self._under_way[receiver.url] >= MOST:
                            self._mark(mark)
                        elif self._settled.get(counter.key, 0.0) <= self._counters.now():
                            self._settle(counter)
                            self._under_way[receiver.url] += 1
                            nursery.start_soon(self._send, mark, receiver, counter, figures, ending)

    def _find_reached(self, mark: _Mark) -> Iterator[tuple[Receiver, SumCounter, Mapping[str, Any]]]:
        """Yield each step that a budget has reached: its receiver, the counter of claims on it, and its figures.

        A budget is also spent if half of it is used and a request does not fit into the rest."""
        budget, counter, rejects = mark
        used, amount = self._counters.level(counter).used, budget.amount
        for receiver in self._receivers if amount else ():
            for step in receiver.at:
                if (rejects and 2 * used >= amount) or used >= round(step * 100_000) * amount / 100_000:
                    name = f"{step:g} {receiver.url}"
                    keys = [counter_key(f"notice {key.hex()} {name}") for key in (counter.key, *counter.earlier)]
                    claims = attrs.evolve(counter, key=keys[0], name="notices", most=1, earlier=tuple(keys[1:]))
                    yield receiver, claims, notice_figures(mark, step, used)

    def _settle(self, counter: SumCounter) -> None:
        if len(self._settled) >= _MOST_KNOWN:
            del self._settled[next(iter(self._settled))]
        self._settled[counter.key] = counter.until

    async def _send(
        self, mark: _Mark, receiver: Receiver, counter: SumCounter, figures: Mapping[str, Any], ending: trio.Event
    ) -> None:
        """Send a notice until the receiver has it, after the last attempt, or when the process ends.

        While another process sends it, check the budget of ``mark`` again: that process may die."""
        claim, id, is_done = new_claim(Debit(counter, 1)), counter.key.hex(), False
        form = {"id": id, **figures} if receiver.form == "json" else {"text": html.escape(figures["text"], quote=False)}
        body, host = msgspec.json.encode(form), host_of_url(receiver.url)
        try:
            if short := await self._counters.reserve([claim]):
                is_done = all(one.is_lasting for one in short)  # otherwise another process may still fail
                return
            if self._counters.remote and self._counters.remote.is_away:
                return
            for number, pause in enumerate(PAUSES):
                if is_done := (fault := await self._fault_of_attempt(receiver, id, body)) is None:
                    return
                if not number:
                    log.warning("a notice for %s is sent again for an hour: %s", host, fault)
                with trio.move_on_after(pause):
                    await ending.wait()
                    return
            is_done = True
            log.error("a notice for %s is given up: %s", host, fault)
        finally:
            self._under_way[receiver.url] -= 1
            self._counters.settle(claim, [int(is_done)])
            if not is_done:
                self._settled.pop(counter.key, None)
                self._mark(mark)

    async def _fault_of_attempt(self, receiver: Receiver, id: str, body: bytes) -> str | None:
        """Send a notice once. Return the reason why the receiver does not have it."""
        request = UpstreamRequest("POST", receiver.url, _headers(receiver, id, body), body)
        try:
            async with self._places.setdefault(receiver.url, trio.CapacityLimiter(PLACES)):
                with trio.fail_after(ATTEMPT):
                    async with await self._upstream.send(request) as response:
                        return None if 200 <= response.status < 300 else f"it returned status {response.status}"
        except GatewayError as error:
            return error.info.message.replace("the provider", "the receiver")
        except trio.TooSlowError:
            return f"no response within {ATTEMPT:g} s"


def _headers(receiver: Receiver, id: str, body: bytes) -> Headers:
    """Return the headers of an attempt, signed as Standard Webhooks require (https://www.standardwebhooks.com)."""
    at = str(int(time.time()))
    headers = (("content-type", "application/json"), ("webhook-id", id), ("webhook-timestamp", at))
    if receiver.secret is None:
        return headers
    digest = hmac.digest(receiver.secret.encode(), f"{id}.{at}.".encode() + body, hashlib.sha256)
    return (*headers, ("webhook-signature", f"v1,{base64.b64encode(digest).decode()}"))


def _marks_of(allowances: Sequence[Allowance], at: float) -> Iterator[_Mark]:
    for one in allowances:
        if isinstance(one, BudgetAllowance) and (counter := one.counter(at, None)) is not None:
            yield one, counter, False


def notice_figures(mark: _Mark, step: float, used: int) -> Mapping[str, Any]:
    """Return the members of a notice."""
    budget, _, rejects = mark
    currency, amount = budget.budget.currency, budget.amount
    percent, unit = used * 100 // amount, NANOS if currency == "usd" else 1
    text = f"{percent}% of {present_text(budget)} is used by {budget.holder.title}: {spelled_amount(used, currency)}."
    text += " A request did not fit into the rest." if rejects else ""
    return {
        "type": "budget.step", "step": round(step * 100, 3), "holder": str(budget.holder), "budget": budget.text,
        "unit": currency, "used": used / unit, "amount": amount / unit, "rejects": rejects, "text": text,
    }  # fmt: skip


class OpenNotices(Running):
    """The notices with the receivers and budgets of a configuration."""

    has_tasks = True

    def __init__(self, notices: Notices, config: Config, ports: Ports) -> None:
        self.notices = notices
        self.hooks = Hooks(observe=(lambda record, arrival: notices,))
        self._receivers, self._allowances = receivers_of(config), ports.allowances

    @property
    def lasting(self) -> Notices:
        return self.notices

    def use(self) -> None:
        self.notices.use(self._receivers, self._allowances)

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await self.notices.run(ending)


def open_notices(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the notices for ``config``, which continue those of ``before``."""
    if isinstance(before, OpenNotices):
        return OpenNotices(before.notices, config, ports)
    upstream = Upstream(ca_path=None if config.ca_path is None else str(config.ca_path))
    return OpenNotices(Notices(upstream), config, ports)
