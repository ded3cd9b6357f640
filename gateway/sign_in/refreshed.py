"""A credential that expires: it is stored for all requests, and renewed before its expiry."""

import logging
import time
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import attrs
import trio

from gateway.config.sign_ins import SignIn
from gateway.http.redaction import FETCHED
from gateway.upstream.request import CredentialSource
from providers.auth.signer import Credential, secret_parts
from streams.errors import GatewayError
from streams.events import ErrorInfo

log = logging.getLogger("trigate.sign_in")

EARLY: Final = 300.0
"""Seconds before its expiry at which a credential is renewed."""
PATIENCE: Final = 20.0
"""Seconds that a fetch may take."""
PAUSE: Final = 10.0
"""Seconds between two fetches, unless a request has no valid credential. Google's metadata server returns the same
credential until it nearly expires, and a failing server would get a request for each of ours."""
THREADS: Final = 2
"""Concurrent fetches of a credential. A fetch that timed out still occupies a thread until its library gives up."""
LONGEST_MESSAGE: Final = 500  # characters of a library's message in the log

Validity: TypeAlias = Literal["good", "due", "expired"]


@attrs.frozen(eq=False)
class Fetched:
    """A credential and its expiry in Unix seconds, ``None`` if that is unknown."""

    credential: Credential = attrs.field(repr=False)
    expiry: float | None = None

    def validity(self, now: float) -> Validity:
        """Return the validity at ``now`` (Unix seconds); ``due`` is valid, but needs a renewal."""
        if self.expiry is None or now < self.expiry - EARLY:
            return "good"
        return "due" if now < self.expiry else "expired"


class RefreshedCredential(CredentialSource):
    """A ``CredentialSource`` that calls ``fetch`` for its credential.

    ``fetch`` may block, because it runs in a thread, and outside the requests, which may be cancelled meanwhile. Any
    exception from it is a failed sign-in. ``clock`` returns Unix seconds."""

    def __init__(
        self,
        sign_in: SignIn,
        fetch: Callable[[], Fetched],
        clock: Callable[[], float] = time.time,
        patience: float = PATIENCE,
    ) -> None:
        self.sign_in = sign_in
        self._fetch = fetch
        self.clock = clock
        self._patience = patience
        self._current: Fetched | None = None
        self._error: ErrorInfo | None = None  # of the last fetch
        self._running: trio.Event | None = None
        self._fetch_ended = float("-inf")
        self._limiter = trio.CapacityLimiter(THREADS)

    async def credential(self) -> Credential:
        """Return the current credential without waiting while it is valid, also during its renewal."""
        current, now = self._current, self.clock()
        validity: Validity = "expired" if current is None else current.validity(now)
        if current is None or validity == "expired":
            return await self._await_fetch()
        if validity == "due" and self._running is None and now >= self._fetch_ended + PAUSE:
            self._start_fetch()
        return current.credential

    async def renew(self, refused: Credential) -> Credential | None:
        """Return another credential than ``refused``, or ``None`` if a fetch returned the same one or just ended."""
        if self._current is not None and self._current.credential != refused:
            return self._current.credential
        if self._running is None and self.clock() < self._fetch_ended + PAUSE:
            return None
        fetched = await self._await_fetch()
        return None if fetched == refused else fetched

    async def _await_fetch(self) -> Credential:
        """Return the credential of the running fetch, or of a new one. Raises ``GatewayError``."""
        await (self._start_fetch() if self._running is None else self._running).wait()
        if self._error is not None:
            raise GatewayError.of(self._error)
        assert self._current is not None
        return self._current.credential

    def _start_fetch(self) -> trio.Event:
        self._running = done = trio.Event()
        trio.lowlevel.spawn_system_task(self._run_fetch, done)
        return done

    async def _run_fetch(self, done: trio.Event) -> None:
        """Fetch a credential and set ``done``. Never raises, because an error in a system task ends the process."""
        try:
            with trio.fail_after(self._patience):
                fetched = await trio.to_thread.run_sync(self._fetch, abandon_on_cancel=True, limiter=self._limiter)
            FETCHED.hide(secret_parts(fetched.credential))
            self._current, self._error = fetched, None
        except trio.TooSlowError:
            self._fail(f"no response within {self._patience:g} s")
        except Exception as error:  # the boundary: a cloud's library may raise anything
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._fetch_ended = self.clock()
            self._running = None
            done.set()

    def _fail(self, words: str) -> None:
        """Log a failed sign-in, and set the error for waiting requests."""
        is_valid = self._current is not None and self._current.validity(self.clock()) != "expired"
        log.warning(
            "%s: sign-in failed%s: %s",
            self.sign_in.account.strip(),
            ", so the current credential stays in use" if is_valid else "",
            " ".join(words.split())[:LONGEST_MESSAGE],
        )
        self._error = ErrorInfo(
            "upstream",
            "the gateway could not sign in to the provider: see its log, and check sign_in of the entry",
            reason="credential",
            wait=PAUSE,
            concerns_all=True,
        )
