"""Changes requests for prompt caches of providers, where an entry's ``prompt_cache`` requests it.

The gateway changes the request as sent, and only if the client has not done the same. ``x-trigate-adapted`` lists the
additions."""

import hashlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import msgspec

from gateway.balancing.affinity import AUTO, find_affinity
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.features.cache_acts.changes import EntryPromptCache, RoutingKey
from gateway.features.cache_acts.settings import acts_of
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.target import Target
from gateway.shared.owned_entries import OwnedEntries
from providers.catalog.prices import Price, cost_of
from providers.catalog.prompt_caching import CachingRow
from providers.errors.member_paths import parse_paths
from providers.members.cache_marks import (
    ALL_PLACES,
    TOP_LEVEL,
    Lifetime,
    Places,
    add_cache_marks,
    add_top_level_mark,
    has_answers,
    has_cache_marks,
    marks_whole_requests,
    permitted_places,
)
from providers.neutral.draft import Draft, Edit
from streams.events import Usage

REQUESTS_PER_PERIOD: Final = 100
"""Marked requests after which the account of a client at an entry is settled."""

PAUSE_SECONDS: Final = 3600.0
"""Seconds without marks after a period in which reads saved less than writes cost."""

_MOST_ACCOUNTS: Final = 4096
_WRITE_SHARE: Final = 0.25
_READ_SHARE: Final = 0.9
"""The additional cost of writing a token and the savings of reading one, as shares of the input price, for a model
without a known price (https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing)."""


@attrs.define(eq=False, repr=False)
class _Account:
    requests: int = 0
    saved: float = 0.0
    paused_until: float = float("-inf")


class MarkGuard:
    """Accounts of what marks cost and saved, by client and entry: writing the cache costs money, which only later reads
    save again. ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._accounts: OwnedEntries[str, str, _Account] = OwnedEntries(_MOST_ACCOUNTS)

    def allows(self, client: str, entry: str) -> bool:
        """Return whether requests of ``client`` to ``entry`` may be marked now."""
        account = self._accounts.get(client, entry)
        return account is None or account.paused_until <= self._clock()

    def settle(self, client: str, entry: str, usage: Usage, price: Price | None) -> bool:
        """Count a marked request with its ``usage``. Return whether marks pause from now on."""
        account = self._accounts.get(client, entry) or _Account()
        self._accounts.put(client, entry, account)
        account.requests += 1
        account.saved += saved_by_cache(usage, price)
        if account.requests < REQUESTS_PER_PERIOD:
            return False
        pauses = account.saved < 0
        account.requests, account.saved = 0, 0.0
        if pauses:
            account.paused_until = self._clock() + PAUSE_SECONDS
        return pauses


def saved_by_cache(usage: Usage, price: Price | None) -> float:
    """Return what reads of ``usage`` saved minus what writes cost: nano-dollars, or input tokens without a ``price``.

    Negative if the cache costs more than it saves."""
    if price is None:
        return usage.cache_read * _READ_SHARE - usage.cache_write * _WRITE_SHARE
    cached = Usage(
        cache_read=usage.cache_read, cache_write=usage.cache_write, cache_write_5m=usage.cache_write_5m,
        cache_write_1h=usage.cache_write_1h,
    )  # fmt: skip
    return cost_of(price, Usage(input=cached.prompt)).nanos - cost_of(price, cached).nanos


log = logging.getLogger("trigate.prompt_acts")

SEEN_SECONDS: Final = 3600.0
"""Seconds for which a prompt counts as seen."""

_PROMPTS: Final = 65_536
_PROMPTS_OF_CLIENT: Final = 64
"""The most prompts that are remembered of all clients, and of each."""

_MARKS: Final = frozenset((TOP_LEVEL, "cachePoint"))
_BEGINNING: Final[Places] = ("tools", "system")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class SeenPrompts:
    """The beginnings of prompts that clients sent within an hour, as digests. ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: OwnedEntries[str, bytes, float] = OwnedEntries(_PROMPTS, most_of_owner=_PROMPTS_OF_CLIENT)

    def note(self, owner: str, digest: bytes) -> bool:
        """Note a prompt of ``owner``, and return whether it was seen before."""
        now, before = self._clock(), self._times.get(owner, digest)
        self._times.put(owner, digest, now)
        return before is not None and now - before <= SEEN_SECONDS


class PromptCacheActs:
    """The changes of requests that entries want for prompt caches. They last across configurations of a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._guard = MarkGuard(clock)
        self._seen = SeenPrompts(clock)

    async def apply(
        self,
        group_of: Callable[[str | None], str | None],
        prepared: Prepared,
        target: Target,
        context: ExchangeContext,
        request: PlannedRequest,
    ) -> Prepared:
        """Return ``prepared`` with the changes that the target's entry wants. Large bodies are read in a thread.

        ``group_of`` returns the group of a client."""
        wanted, client_request = acts_of(target.entry), context.client_request
        if wanted is None or target.endpoint_place is not None:
            return prepared
        client = client_request.client or ""
        if (row := target.caching) is not None and (wanted.key is not None or wanted.isolate is not None):
            sender = PromptSender(client, group_of(client_request.client), client_request.headers, request.incoming)
            prepared = await with_cache_names(prepared, target, row, wanted, sender)
        if wanted.marks is None or (row is not None and not row.takes_marks) or not may_be_marked(prepared, target):
            return prepared
        has_no_ttl = any(path[-1] == "ttl" for path in prepared.omissions.paths)  # the provider has rejected it
        return await self._apply_marks(prepared, target, client, "5m" if has_no_ttl else wanted.marks)

    async def _apply_marks(self, prepared: Prepared, target: Target, client: str, lifetime: Lifetime) -> Prepared:
        if not self._guard.allows(client, target.place):
            return prepared
        body = prepared.outgoing.body
        is_answered, beginning = await offload(len(body), _read_prompt, body, target)
        if is_answered:
            places = ALL_PLACES
        elif target.lane == "hub" and self._seen.note(client, beginning):
            places = _BEGINNING
        else:
            return prepared
        marked = await offload(len(body), _with_marks, prepared, target, lifetime, places)
        if marked is prepared:
            return prepared
        return attrs.evolve(marked, on_usage=(*marked.on_usage, partial(self._settle, client, target)))

    def _settle(self, client: str, target: Target, usage: Usage) -> None:
        """Count the cost and the savings of the marks of ``client``. Never raises."""
        if self._guard.settle(client, target.place, usage, target.price):
            log.warning(
                "%s: cache marks cost more than they save for the client %s: the gateway adds none for an hour",
                target.place,
                client,
            )


def may_be_marked(prepared: Prepared, target: Target) -> bool:
    """Return whether marks of the gateway may be added: the client has none, and the provider refuses none."""
    if target.lane == "byte" and not marks_whole_requests(target.api):
        return False  # the client's bytes stay unchanged, so the API needs a mark for the whole request
    known = parse_paths(target.recipient.quirks.refused_fields)
    if any(path[-1] in _MARKS for path in (*known, *prepared.omissions.paths)):
        return False
    return not has_cache_marks(target.api, prepared.outgoing.body)


def _with_marks(prepared: Prepared, target: Target, lifetime: Lifetime, places: Places) -> Prepared:
    """Return ``prepared`` with cache marks at the positions ``places``, as far as the model permits marks there."""
    body, number = prepared.outgoing.body, 1
    if target.lane == "byte":
        body = add_top_level_mark(body, lifetime)
    else:
        permitted = permitted_places(target.api, target.recipient.quirks)
        places = tuple(place for place in places if place in permitted)
        body, number = add_cache_marks(target.api, body, lifetime, places)
    if not number:
        return prepared
    edit = Edit(TOP_LEVEL, lost=False, form=f"+{number}", why="operator")
    outgoing = attrs.evolve(prepared.outgoing, body=body, edits=(*prepared.outgoing.edits, edit))
    return attrs.evolve(prepared, outgoing=outgoing)


def _read_prompt(body: bytes, target: Target) -> tuple[bool, bytes]:
    """Return whether ``body`` has an earlier answer of the model, and a digest of its tools and instructions."""
    members = _MEMBERS.decode(body)
    digest = hashlib.blake2b(target.place.encode(errors="surrogatepass"), digest_size=16)
    for name in ("tools", "toolConfig", "system"):
        digest.update(b"\0")
        digest.update(members.get(name, b""))
    return has_answers(target.api, body), digest.digest()


# Names of caches at a provider: keys by which it routes requests to a cache, and values that separate clients' caches.
# Both are digests with a secret of the entry, equal in all processes and after a restart, so that they cost no cache.

HEADER_PREFIX: Final = "header:"
"""The prefix of a row's ``key_member`` that is a header."""


@attrs.frozen(repr=False)
class PromptSender:
    """The sender of a prompt: its client and group, and the request as it arrived."""

    client: str
    group: str | None
    headers: Headers
    incoming: Incoming


async def with_cache_names(
    prepared: Prepared, target: Target, row: CachingRow, wanted: EntryPromptCache, sender: PromptSender
) -> Prepared:
    """Return ``prepared`` with the names of caches that ``wanted`` has and the provider's ``row`` knows."""
    secret = hashlib.blake2b((target.entry.key or target.entry.name).encode(errors="surrogatepass")).digest()
    if wanted.isolate is not None and row.takes_salt is not None:
        owner = sender.group if wanted.isolate == "group" and sender.group is not None else f"key {sender.client}"
        return await offload(prepared.size, _with_salt, prepared, row.takes_salt, owner, secret)
    if wanted.key is None or row.key_member is None or row.key_separates:
        return prepared
    if prepared.refuses(target, row.key_member):
        return prepared
    if await offload(prepared.size, _is_present, prepared, row.key_member, sender.headers):
        return prepared
    name = await _name_of(wanted.key, sender)
    if name is None:
        return prepared
    return await offload(prepared.size, _with_key, prepared, row.key_member, _digest(secret, name))


async def _name_of(wanted: RoutingKey, sender: PromptSender) -> bytes | None:
    """Return the name of the conversation or client, ``None`` for a request without a conversation."""
    if wanted == "client":
        return sender.client.encode(errors="surrogatepass")
    affinity = await find_affinity(AUTO, sender.client, sender.headers, sender.incoming)
    return None if affinity is None else affinity.key


def _with_salt(prepared: Prepared, member: str, owner: str, secret: bytes) -> Prepared:
    """Return ``prepared`` with the name of its owner's cache, which includes the client's own value.

    Without that, clients that know each other's values would share a cache."""
    draft = Draft.of(prepared.outgoing.body)
    own = draft.raw(member)
    parts = (owner.encode(errors="surrogatepass"), b"" if own is None else bytes(own))
    draft.put(member, _digest(secret, b"\0".join(parts)))
    return prepared.with_addition(member, body=draft.encode())


def _with_key(prepared: Prepared, member: str, key: str) -> Prepared:
    if member.startswith(HEADER_PREFIX):
        name = member.removeprefix(HEADER_PREFIX)
        return prepared.with_addition(name, headers=(*prepared.outgoing.headers, (name, key)))
    draft = Draft.of(prepared.outgoing.body)
    draft.put(member, key)
    return prepared.with_addition(member, body=draft.encode())


def _is_present(prepared: Prepared, member: str, headers: Headers) -> bool:
    """Return whether the client has sent its own cache key in ``member``, which may be a header."""
    if member.startswith(HEADER_PREFIX):
        name = member.removeprefix(HEADER_PREFIX)
        return any(one == name for one, _ in (*headers, *prepared.outgoing.headers))
    raw = Draft.of(prepared.outgoing.body).raw(member)
    return raw is not None and bytes(raw) != b"null"


def _digest(secret: bytes, name: bytes) -> str:
    return hashlib.blake2b(name, digest_size=16, key=secret).hexdigest()
