"""The origin of an answer with searches: the model's turns, and the searches between them."""

import re
import time
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, Final, Self

import attrs
import trio

from gateway.exchange.attempt_answer import A
from gateway.exchange.origin import Make
from gateway.exchange.planned import PlannedRequest, StoppedAnswer
from gateway.exchange.walk import Walk
from gateway.features.web_search.offering import OfferedSearch, rejects_search, searches_itself
from gateway.features.web_search.parts import PartsOrigin
from gateway.features.web_search.services import MAX_QUERY, Domains, SearchFailed, SearchService
from gateway.features.web_search.turns import SearchTurnWriter, ShownAnswer, query_of
from gateway.http.offload import offload
from gateway.ledger.bill import AttemptRecord
from gateway.routing.target import Target
from gateway.streaming.released import frame_of
from providers.catalog.prices import NANOS, Price
from providers.neutral.next_turns import CallResult
from providers.neutral.searches import FoundPages, new_search_id
from streams.errors import GatewayError
from streams.events import AnswerEnd, BlockEnd, TextDelta, Usage, change_event

MAX_TURNS: Final = 10
"""The most turns of the model in one answer. Then it pauses, as Anthropic's do."""

_TOOLS: Final = ("tools", "toolConfig")
_MENTION: Final = re.compile(rb'"(?:openrouter:)?web_search(?:_[a-z]*[0-9_]*)?"|"google_?search|"nova_grounding"', re.I)
"""The type of a search tool. It may be another text; then the request is read for nothing."""
_SHOWN: Final = (TextDelta, BlockEnd)


def searched_origin(service: SearchService, walk: Walk, relayed: object, nursery: trio.Nursery) -> Any:
    """Return the origin of an answer with searches, or ``walk`` if the request offers none, or only to providers
    that search themselves."""
    request = walk.request
    if relayed is not None or request.prepare_from is None:
        return walk
    members = request.incoming.members
    offers = bytes(members.get("web_search_options", b"null")) != b"null"
    offers = offers or any(_MENTION.search(members[name]) for name in _TOOLS if name in members)
    if not offers:
        return walk
    may_be_offline, api = b'"external_web_access"' in bytes(members.get("tools", b"")), walk.context.codec.api
    targets = request.plan.targets
    native = [one for one in targets if searches_itself(one, has_functions=True)]
    if len(native) == len(targets) and all(one.api == api for one in native):
        return walk
    is_native = len(native) == len(targets) and not may_be_offline
    origin = walk if is_native else SearchOrigin(walk, service)
    return TranslatedSearch(walk, origin, service) if native else origin


class TranslatedSearch:
    """The origin of an answer with a provider's own search, in another API than the client's: ``origin``, unless the
    provider rejects the search."""

    def __init__(self, walk: Walk, origin: Any, service: SearchService) -> None:
        self._walk, self._origin, self._service = walk, origin, service

    async def run(self, make: Make[A]) -> A:
        """Return the client's answer. Raises ``GatewayError``."""
        try:
            begun: A = await self._origin.run(make)
            return begun
        except GatewayError as error:
            if not rejects_search(error.info):
                raise
        self._origin = origin = SearchOrigin(self._walk, self._service, is_rejected=True)
        if self._walk.request.reservation is not None:
            self._walk.request.reservation.begin_part()
        await origin.start()
        return await origin.run(make)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._origin, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._origin.__exit__(*raised)


class SearchOrigin(PartsOrigin):
    """The origin of one answer."""

    _offered: OfferedSearch
    _domains: Domains

    def __init__(self, walk: Walk, service: SearchService, *, is_rejected: bool = False) -> None:
        self._is_rejected = is_rejected
        self._shown = shown = ShownAnswer(walk.context.codec.api)
        super().__init__(walk, lambda: SearchTurnWriter(shown))
        self._service = service
        self._uses = self._found = self._charged = 0
        self._max_uses = service.settings.max_uses

    async def prepare(self) -> PlannedRequest:
        incoming, settings = self.request.incoming, self._service.settings
        self._offered = offered = await offload(incoming.size, OfferedSearch.of, incoming)
        offered.is_rejected = self._is_rejected
        self._shown.name = offered.name
        search, allowed, blocked = offered.search, [settings.allowed_domains], [settings.blocked_domains]
        if search is not None:
            allowed, blocked = [*allowed, search.domains("allowed")], [*blocked, search.domains("blocked")]
            self._max_uses = min(self._max_uses, self._max_uses if search.max_uses is None else search.max_uses)
        self._domains = Domains.of(allowed, blocked)
        assert self.request.prepare_from is not None, "it is a conversation"
        return attrs.evolve(self.request, prepare_from=offered.writing(self.request.prepare_from))

    def has_parts(self, target: Target) -> bool:
        return self._offered.is_needed_by(target)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        begun: FoundPages | None = None
        try:
            for number in range(1, MAX_TURNS + 1):
                walk, writer = self.part.walk, self.part.writer
                async for frame in self.part.frames():
                    yield frame
                answer = writer.fold.answer()
                await self.close_part()
                self._shown.end_turn(writer)
                results: list[CallResult] = []
                calls = writer.searches if answer.end.reason in ("tool_calls", "stop") else []
                for call in calls:
                    query = query_of(call)
                    begun = FoundPages(new_search_id(self._shown.api), query or "")
                    yield frame_of(self._shown.search_events(begun))
                    found = await self._search(begun, query, walk.target_request.target)
                    results.append(CallResult(call.id, call.name, found.as_text(), found.error is not None))
                    is_changed = False
                    if found.sources or call is calls[-1]:  # not for each of thousands of failed ones
                        incoming, is_changed = await self.next_request(answer, results)
                    yield frame_of(self._shown.search_events(found.without_texts() if is_changed else found))
                    begun = None
                if not results or writer.has_other_calls or number == MAX_TURNS:
                    pauses = results and not writer.has_other_calls
                    yield frame_of([self._sum(), AnswerEnd("pause") if pauses else answer.end])
                    return
                self._offered.has_searched = True
                await self.begin_next(incoming)
        except StoppedAnswer as stopped:  # a step ends the answer in place of the next turn
            ended = [] if begun is None else self._shown.search_events(attrs.evolve(begun, error="unavailable"))
            shown = [change_event(one, block=self._shown.block) for one in stopped.events if isinstance(one, _SHOWN)]
            yield frame_of([*ended, *shown, self._sum(), stopped.events[-1]])

    def _sum(self) -> Usage:
        """Return the usage of all turns, with the searches: ``calls`` are those with a result, ``units`` those that the
        client pays."""
        searches = Usage(calls=(("web_search", self._found),)) if self._found else Usage()
        return self.usage + attrs.evolve(searches, units=(("search", self._charged),) if self._charged else ())

    async def _search(self, begun: FoundPages, query: str | None, target: Target) -> FoundPages:
        """Return the result of a search. Raises ``GatewayError`` if the client may use no more."""
        if query is not None and self.context.checks is not None:
            query = self.context.checks.hidden_again(query)  # the client's own values do not leave for the service
        if query is None or len(query) > MAX_QUERY:
            return attrs.evolve(begun, error="invalid_tool_input" if query is None else "query_too_long")
        if self._uses >= self._max_uses:
            return attrs.evolve(begun, error="max_uses_exceeded")
        self._uses += 1
        name, nanos = self._service.name, round(self._service.settings.price * NANOS)
        if (reservation := self.request.reservation) is not None:
            await reservation.reserve_part(target, nanos)
        price = Price(0, 0, units=(("search", nanos * 10**6),), origin="config", provider=name, model="web_search")
        record = partial(
            AttemptRecord, "web_search", name, self._shown.api, "search", price=price, model=f"{name}/web_search"
        )
        began, log = time.perf_counter(), self.context.attempt_log
        charged: Usage | None = None

        def charge() -> None:
            nonlocal charged
            charged = Usage(units=(("search", 1),), estimated=True)

        try:
            sources = await self._service.search(query, self._domains, charge)
        except SearchFailed as failed:
            charged = None if failed.is_refused else charged
            self._charged += charged is not None
            log.add(record(reason=failed.reason, seconds=time.perf_counter() - began, usage=charged))
            return attrs.evolve(begun, error=failed.code)
        except BaseException:  # the client has disconnected, and the service may charge for it
            log.add(record(reason="client_left", seconds=time.perf_counter() - began, usage=charged))
            raise
        log.add(record(seconds=time.perf_counter() - began, usage=Usage(units=(("search", 1),))))
        self._found += 1
        self._charged += 1
        return attrs.evolve(begun, sources=sources)
