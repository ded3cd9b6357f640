"""The tokens that issuers gave for people, for one MCP server."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from gateway.access.authentication import sent_keys
from gateway.features.mcp_sign_in.exchange import ExchangedToken
from gateway.features.people.interface import PeopleOfConfig
from gateway.http.headers import Headers
from gateway.upstream.request import CredentialSource
from providers.auth.signer import BearerToken, Credential
from streams.errors import GatewayError

MOST: Final = 10_000
"""Tokens that are kept for one server."""

MOST_OF_ONE: Final = 8
"""Tokens that are kept for one person."""

EARLY: Final = 10.0
"""Seconds before its expiry at which a token is exchanged again."""

Exchange = Callable[[str], Awaitable[ExchangedToken]]
"""Exchanges a person's token. Raises ``GatewayError``."""


@attrs.frozen(eq=False)
class _Kept:
    person: str
    token: BearerToken
    until: float


@attrs.define(eq=False)
class _Running:
    """An exchange for one or several requests; its ``token`` or its failure ``error`` concerns all of them."""

    done: trio.Event = attrs.field(factory=trio.Event)
    error: GatewayError | None = None
    token: BearerToken | None = attrs.field(default=None, repr=False)


class ExchangedTokens:
    """The tokens of one server, each kept for the person's token from which it came. ``clock`` returns seconds."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float] = trio.current_time) -> None:
        self._exchange = exchange
        self._clock = clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()  # the last was exchanged last
        self._running: dict[bytes, _Running] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def token(self, person: str, subject: str) -> BearerToken:
        """Return the token that the issuer gives for ``subject``, a token of ``person``.

        Concurrent requests share one exchange. Raises ``GatewayError`` without a token."""
        key = hashlib.sha256(subject.encode()).digest()
        while (kept := self._kept.get(key)) is None or kept.until <= self._clock():
            running = self._running.get(key)
            if running is None:
                return await self._renew(key, person, subject)
            await running.done.wait()
            if running.error is not None:
                raise running.error
            if running.token is not None:  # also one that is too short-lived to be kept
                return running.token
        return kept.token

    def forget(self, subject: str, token: Credential) -> None:
        """Forget ``token``, which the server rejected."""
        key = hashlib.sha256(subject.encode()).digest()
        if (kept := self._kept.get(key)) is not None and kept.token == token:
            del self._kept[key]

    async def _renew(self, key: bytes, person: str, subject: str) -> BearerToken:
        running = self._running[key] = _Running()
        try:
            found = await self._exchange(subject)
            running.token = found.token
        except GatewayError as error:
            running.error = error
            raise
        finally:
            del self._running[key]
            running.done.set()
        self._kept.pop(key, None)
        if found.seconds > EARLY:
            self._make_room(person)
            self._kept[key] = _Kept(person, found.token, self._clock() + found.seconds - EARLY)
        return found.token

    def _make_room(self, person: str) -> None:
        own = [key for key, kept in self._kept.items() if kept.person == person]
        for key in own[: len(own) - MOST_OF_ONE + 1] if len(own) >= MOST_OF_ONE else ():
            del self._kept[key]
        while len(self._kept) >= MOST:
            self._kept.popitem(last=False)


class ServerTokens(CredentialSource):
    """The source of the credentials of one ``server``: tokens of the people of ``issuer``."""

    def __init__(self, server: str, issuer: str, tokens: ExchangedTokens, people: PeopleOfConfig | None) -> None:
        self._server = server
        self._issuer = issuer
        self._tokens = tokens
        self._people = people

    def for_client(self, client: str | None, headers: Headers) -> CredentialSource:
        """Return the source for the person ``client``. Raises ``GatewayError`` (403) for a client without a token of
        an issuer."""
        subject = None
        if self._people is not None:
            subject = self._people.gate.issuer_token(self._issuer, client, headers, sent_keys(headers))
        if client is None or subject is None:
            text = (
                f"the MCP server {self._server} accepts only people who send a token of {self._issuer}: sign "
                "in with the MCP client, without a key of the gateway"
            )
            raise GatewayError("permission", text, headers=(("x-should-retry", "false"),))
        return _PersonToken(self._tokens, self._server, client, subject)

    async def credential(self) -> Credential | None:
        raise GatewayError("permission", f"the MCP server {self._server} serves only people")

    async def renew(self, refused: Credential) -> Credential | None:
        return None


@attrs.frozen(eq=False, repr=False)
class _PersonToken(CredentialSource):
    """The source of a person's token for a server."""

    tokens: ExchangedTokens
    server: str
    person: str
    subject: str

    async def credential(self) -> Credential | None:
        return await self.tokens.token(self.person, self.subject)

    async def renew(self, refused: Credential) -> Credential | None:
        """Forget the token, so that the next request gets another one.

        Raises ``GatewayError``, because the gateway sends no call twice."""
        self.tokens.forget(self.subject, refused)
        text = (
            f"the MCP server {self.server} rejected the token that the issuer gave for you: check the audience, "
            "resource and scope of its token_exchange, and the issuers that the server accepts"
        )
        raise GatewayError("upstream", text, reason="credential", headers=(("x-should-retry", "false"),))
