"""Opens linked files: a step of planning that puts their contents into requests for providers that fetch none. It keeps
the files of a conversation, so that each turn has the same bytes, and the beginning of its prompt stays cached."""

import base64
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import attrs
import msgspec
import trio

from gateway.balancing.affinity import AUTO, find_affinity
from gateway.config.settings import Config
from gateway.exchange.planning import Planning
from gateway.exchange.reserving import SEARCHED_SIZE, reserve_first
from gateway.features.linked_files.links import Link, links_in
from gateway.http.offload import offload
from gateway.relay import public_addresses
from gateway.request.parse import EarlierItems, Incoming
from gateway.seams.hooks import Hooks
from gateway.seams.running import Addition, Ports, Running
from gateway.upstream.address import Origin, parse_origin
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from providers.apis import CODECS
from providers.neutral.media import file_type, is_video
from providers.neutral.request import MediaSource
from streams.errors import GatewayError, invalid
from streams.surrogates import decode_or

MOST: Final = 50  # links of a request that are replaced; others stay
SECONDS: Final = 30.0  # for a file, with the wait for other downloads of the client
DOWNLOADS: Final = 2  # of a client at the same time
ALL_SECONDS: Final = 60.0  # for all files of a request
TOTAL: Final = 64 * 2**20  # bytes of all kept files in base64, half of them for one client
ENTRY: Final = 32 * 1024  # bytes that each kept file counts in addition: their number is limited, too, to find them


class LinkedFiles:
    """The media type and the base64 of each kept file by owner, conversation and URL, the oldest first."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bytes, str], tuple[str, str]] = {}
        self._places: WeakValueDictionary[str, trio.CapacityLimiter] = WeakValueDictionary()  # of each client

    async def fill(self, planning: Planning) -> None:
        """Put the linked files into the request if one of its targets needs them. Raises ``GatewayError`` (400)."""
        incoming, context = planning.incoming, planning.context
        targets = [one for one in planning.plan.targets if one.entry.images.inline and not one.fetches_links]
        own = {parse_origin(one.url) for one in targets}
        links, values = await offload(incoming.size, _find_links, incoming, own) if targets else ((), [])
        if not links:
            return
        if context.service.allowances.has_limits or planning.options.budgets:  # then files of a usual size are reserved
            for link, _ in links:
                link.put("image/png" if link.is_image else "application/pdf", "A" * SEARCHED_SIZE)
            planning.incoming = await offload(incoming.size, _with_values, incoming, values)
            planning.reservation = await reserve_first(context, planning.request())
        owner, limit = planning.state_scope.owner, context.service.settings.limits.request_body
        affinity = await find_affinity(AUTO, owner, context.client_request.headers, incoming)
        held, most = context.service.admission.body(context.holder, planning.scope), limit - incoming.size
        until = trio.current_time() + ALL_SECONDS
        async with context.service.upstream.restricted_client(public_addresses.is_public) as public:
            for link, is_own in links:
                key = owner, b"" if affinity is None else affinity.key, link.url
                upstream = context.service.upstream if is_own else public
                kind, data = await self._fetch(key, link, upstream, most, until, is_own=is_own)
                held.decode(limit - (most := most - len(data)), 0)
                link.put(kind, data)
        planning.incoming = await offload(limit - most, _with_values, incoming, values)

    async def _fetch(
        self, key: tuple[str, bytes, str], link: Link, upstream: Upstream, most: int, until: float, *, is_own: bool
    ) -> tuple[str, str]:
        kept = self._kept
        try:
            with trio.fail_at(min(until, trio.current_time() + SECONDS)):
                async with self._places.setdefault(key[0], trio.CapacityLimiter(DOWNLOADS)):
                    file = kept.get(key) or kept.setdefault(key, await _download(link, upstream, most, is_own=is_own))
            reason = "the request becomes larger than limits.request_body" if len(file[1]) > most else ""
        except (trio.TooSlowError, OSError, UnicodeError):  # UnicodeError: no valid name, such as one with ".."
            reason = "its server does not respond"
        except GatewayError as error:
            reason = error.info.message.replace("the provider", "its server")
        if reason:
            raise invalid(f"cannot download the linked file {link.file_name!r}: {reason}. Send its content instead")
        for owner, limit in ((key[0], TOTAL // 2), (None, TOTAL)):  # the client's own files, then those of all
            while sum(ENTRY + len(at[2]) + len(one[1]) for at, one in kept.items() if owner in (None, at[0])) > limit:
                del kept[next(at for at in kept if owner in (None, at[0]))]
        return file


async def _download(link: Link, upstream: Upstream, most: int, *, is_own: bool) -> tuple[str, str]:
    if (origin := parse_origin(link.url)) is None or "@" in urlsplit(link.url).netloc:
        raise invalid("its URL is not valid")
    if not is_own and not await public_addresses.has_public_addresses(origin.host, origin.port):
        raise invalid("its address is not public")
    request = UpstreamRequest("GET", link.url, (("accept", "*/*"), ("accept-encoding", "identity")))
    async with await upstream.send(request) as response:
        if response.status != 200:
            raise invalid(f"its server returns status {response.status}")
        body = await response.read(max(most * 3 // 4, 1))
    data = (await offload(len(body), base64.b64encode, body)).decode("ascii")
    kind = file_type(link.file_name, response.header("content-type"), data)
    if link.is_image and not kind.startswith("image/"):
        raise invalid("it is no image")
    return kind, data


def _find_links(incoming: Incoming, own: set[Origin | None]) -> tuple[list[tuple[Link, bool]], list[Any]]:
    """Return the links of a request, with whether each is an image at a server of ``own``, and its decoded messages:
    those of earlier turns, then its own."""
    raw = incoming.members.get(CODECS[incoming.api].wire.conversation.member, msgspec.Raw(b"null"))
    values = [msgspec.json.decode(msgspec.json.encode(one.items)) for one in incoming.earlier]
    values.append(decode_or(msgspec.json.decode, bytes(raw), raw))
    links = [(one, one.is_image and parse_origin(one.url) in own) for one in links_in(values)]
    return [(one, is_own) for one, is_own in links if is_fetched(one.url, is_own=is_own)][:MOST], values


def is_fetched(url: str, *, is_own: bool = False) -> bool:
    is_known = "//generativelanguage." in url or is_video(MediaSource("url", url))  # to Google
    return not is_known and (is_own or url.startswith("https:"))


def _with_values(incoming: Incoming, values: list[Any]) -> Incoming:
    """Return the request with other messages."""
    *earlier, own = values
    name, raw = CODECS[incoming.api].wire.conversation.member, msgspec.Raw(msgspec.json.encode(own))
    members = {one: raw if one == name else value for one, value in incoming.members.items()}
    turns = tuple(EarlierItems(one.api, tuple(items)) for one, items in zip(incoming.earlier, earlier, strict=True))
    body, size = msgspec.json.encode(members), len(msgspec.json.encode(earlier)) if earlier else 0
    return attrs.evolve(incoming, body=body, members=members, earlier=turns, earlier_size=size)


def open_linked_files(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the linked files of ``before``, or new ones."""
    return before or Addition(Hooks(after_turns=(LinkedFiles().fill,)))
