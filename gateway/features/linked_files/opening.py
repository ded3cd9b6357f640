"""Opens linked files: a step of planning that puts their contents into requests for providers that fetch none. It keeps
the files of a conversation, so that each turn has the same bytes, and the beginning of its prompt stays cached."""

import base64
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import attrs
import msgspec
import trio

from gateway.balancing.affinity import AUTO, find_affinity
from gateway.config.settings import Config
from gateway.exchange.planning import Planning
from gateway.features.linked_files.links import Link, links_in
from gateway.http.addresses import parse_ip
from gateway.http.offload import offload
from gateway.request.parse import EarlierItems, Incoming
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running
from gateway.upstream.address import parse_origin
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
ENTRY: Final = 4096  # bytes that each kept file counts in addition

_NAT64: Final = IPv6Network("64:ff9b::/96")  # the addresses end with those of IPv4 (RFC 6052)
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")  # RFC 8215


class LinkedFiles:
    """The media type and the base64 of each kept file by owner, conversation and URL, the oldest first."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self._kept: dict[tuple[str, bytes, str], tuple[str, str]] = {}
        self._places: WeakValueDictionary[str, trio.CapacityLimiter] = WeakValueDictionary()  # of each client

    async def fill(self, planning: Planning) -> None:
        """Put the linked files into the request if one of its targets needs them. Raises ``GatewayError`` (400)."""
        incoming, context = planning.incoming, planning.context
        if all(one.fetches_links or not one.entry.images.inline for one in planning.plan.targets):
            return
        if not (found := await offload(incoming.size, _find_links, incoming))[0]:
            return
        owner, limit = planning.state_scope.owner, context.service.settings.limits.request_body
        affinity = await find_affinity(AUTO, owner, context.client_request.headers, incoming)
        held, most = context.service.admission.body(context.holder, planning.scope), limit - incoming.size
        until = trio.current_time() + ALL_SECONDS
        for link in found[0]:
            key = owner, b"" if affinity is None else affinity.key, link.url
            kind, data = await self._fetch(key, link, most, until)
            held.decode(limit - (most := most - len(data)), 0)
            link.put(kind, data)
        planning.incoming = await offload(limit - most, _with_values, incoming, found[1])

    async def _fetch(self, key: tuple[str, bytes, str], link: Link, most: int, until: float) -> tuple[str, str]:
        try:
            with trio.fail_at(min(until, trio.current_time() + SECONDS)):
                async with self._places.setdefault(key[0], trio.CapacityLimiter(DOWNLOADS)):
                    file = self._kept.get(key) or self._kept.setdefault(key, await self._download(link, most))
            reason = "the request becomes larger than limits.request_body" if len(file[1]) > most else ""
        except (trio.TooSlowError, OSError, UnicodeError):  # UnicodeError: no valid name, such as one with ".."
            reason = "its server does not respond"
        except GatewayError as error:
            reason = error.info.message.replace("the provider", "its server")
        if reason:
            raise invalid(f"cannot download the linked file {link.file_name!r}: {reason}. Send its content instead")
        for owner, limit in ((key[0], TOTAL // 2), (None, TOTAL)):  # the client's own files, then those of all
            while sum(_size(*one) for one in self._kept.items() if owner in (None, one[0][0])) > limit:
                del self._kept[next(one for one in self._kept if owner in (None, one[0]))]
        return file

    async def _download(self, link: Link, most: int) -> tuple[str, str]:
        if (origin := parse_origin(link.url)) is None or "@" in urlsplit(link.url).netloc:
            raise invalid("its URL is not valid")
        if not all(is_public(str(one[4][0])) for one in await trio.socket.getaddrinfo(origin.host, origin.port)):
            raise invalid("its address is not public")
        request = UpstreamRequest("GET", link.url, (("accept", "*/*"), ("accept-encoding", "identity")))
        async with await self.upstream.send(request) as response:
            if response.status != 200:
                raise invalid(f"its server returns status {response.status}")
            body = await response.read(max(most * 3 // 4, 1))
        data = (await offload(len(body), base64.b64encode, body)).decode("ascii")
        kind = file_type(link.file_name, response.header("content-type"), data)
        if link.is_image and not kind.startswith("image/"):
            raise invalid("it is no image")
        return kind, data


def is_public(address: str) -> bool:
    """Return whether an IP address is public: otherwise a server inside the network might answer."""
    if (parsed := parse_ip(address)) is None:
        return False
    if isinstance(parsed, IPv6Address):  # a gateway in the network may translate it to the IPv4 address in it
        inner = IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else parsed.sixtofour
        if parsed in _LOCAL_NAT64 or not (inner is None or inner.is_global):
            return False
    return parsed.is_global


def _size(key: tuple[str, bytes, str], file: tuple[str, str]) -> int:
    """Return the bytes that a kept file counts."""
    return ENTRY + len(key[2]) + len(file[1])


def _find_links(incoming: Incoming) -> tuple[list[Link], list[Any]]:
    """Return the links of a request, and its decoded messages: those of earlier turns, then its own."""
    raw = incoming.members.get(CODECS[incoming.api].wire.conversation.member, msgspec.Raw(b"null"))
    values = [msgspec.json.decode(msgspec.json.encode(one.items)) for one in incoming.earlier]
    values.append(decode_or(msgspec.json.decode, bytes(raw), raw))
    return [one for one in links_in(values) if is_fetched(one.url)][:MOST], values


def is_fetched(url: str) -> bool:  # Google knows its own files and videos
    return url.startswith("https:") and "//generativelanguage." not in url and not is_video(MediaSource("url", url))


def _with_values(incoming: Incoming, values: list[Any]) -> Incoming:
    """Return the request with other messages."""
    *earlier, own = values
    name, raw = CODECS[incoming.api].wire.conversation.member, msgspec.Raw(msgspec.json.encode(own))
    members = {one: raw if one == name else value for one, value in incoming.members.items()}
    turns = tuple(EarlierItems(one.api, tuple(items)) for one, items in zip(incoming.earlier, earlier, strict=True))
    body, size = msgspec.json.encode(members), len(msgspec.json.encode(earlier)) if earlier else 0
    return attrs.evolve(incoming, body=body, members=members, earlier=turns, earlier_size=size)


class OpenLinkedFiles(Running):
    """The linked files, which outlive configurations."""

    has_tasks = True

    def __init__(self, files: LinkedFiles) -> None:
        self.hooks = Hooks(after_turns=(files.fill,))
        self._upstream = files.upstream

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with self._upstream:
            await ending.wait()


def open_linked_files(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the linked files of ``before``, or new ones."""
    ca_path = None if config.ca_path is None else str(config.ca_path)
    return before or OpenLinkedFiles(LinkedFiles(Upstream(ca_path=ca_path, permits_address=is_public)))
