"""A credential that ends: fetched once for all who wait for it, and renewed before it ends."""

import logging
import time
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import attrs
import trio

from gateway.config.redaction import FETCHED
from gateway.config.settings import SignIn
from providers.auth.credential import Credential, secrets_of_credential
from streams.errors import GatewayError
from streams.events import ErrorInfo

log = logging.getLogger("trigate.sign_in")

EARLY: Final = 300.0
"""Seconds before its end from which a credential is renewed."""
PATIENCE: Final = 20.0
"""Seconds that a fetch may take."""
REST: Final = 10.0
"""Seconds from the end of one fetch to the beginning of another that nobody has to wait for: what fetches may give the
same credential until its end is near (Google's metadata server does), and what refuses may refuse every one."""
THREADS: Final = 2
"""Fetches that may be under way though nobody waits any longer: they end when the vendor's library gives up."""
LONGEST: Final = 500  # characters of a library's words in the log

Validity: TypeAlias = Literal["good", "due", "ended"]


@attrs.frozen
class Fetched:
    """A credential and its end in Unix seconds; ``None`` where nobody has said when that is."""

    credential: Credential = attrs.field(repr=False)
    until: float | None = None

    def validity(self, now: float) -> Validity:
        """``due``: it holds, and is to be renewed."""
        if self.until is None or now < self.until - EARLY:
            return "good"
        return "due" if now < self.until else "ended"


class RefreshedCredential:
    """A ``CredentialSource`` over ``fetch``, which blocks, and is called in a thread, by nobody's task: who waits may
    leave. ``sign_in`` is whose it is, ``clock`` tells Unix seconds. Whatever ``fetch`` raises
    is a sign-in that failed."""

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
        self._held: Fetched | None = None
        self._failed: ErrorInfo | None = None  # of the last fetch, if that failed
        self._running: trio.Event | None = None
        self._ended_at = float("-inf")  # the last fetch
        self._limiter = trio.CapacityLimiter(THREADS)

    async def credential(self) -> Credential:
        """As ``CredentialSource`` says. One that still holds is given at once, also while it is being renewed."""
        held, now = self._held, self.clock()
        validity: Validity = "ended" if held is None else held.validity(now)
        if held is None or validity == "ended":
            return await self._fetched()
        if validity == "due" and self._running is None and now >= self._ended_at + REST:
            self._begin()
        return held.credential

    async def renewed(self, refused: Credential) -> Credential | None:
        """As ``CredentialSource`` says."""
        if self._is_other(refused) and self._held is not None:
            return self._held.credential
        if self._running is None and self.clock() < self._ended_at + REST:
            return None
        given = await self._fetched()
        return None if given == refused else given

    def _is_other(self, refused: Credential) -> bool:
        return self._held is not None and self._held.credential != refused

    async def _fetched(self) -> Credential:
        """What the fetch that is under way brings, or a new one. Raises ``GatewayError``."""
        await (self._begin() if self._running is None else self._running).wait()
        if self._failed is not None:
            raise GatewayError.of(self._failed)
        assert self._held is not None
        return self._held.credential

    def _begin(self) -> trio.Event:
        self._running = done = trio.Event()
        trio.lowlevel.spawn_system_task(self._refresh, done)
        return done

    async def _refresh(self, done: trio.Event) -> None:
        """Raises nothing: it is a task of the process."""
        try:
            with trio.fail_after(self._patience):
                fetched = await trio.to_thread.run_sync(self._fetch, abandon_on_cancel=True, limiter=self._limiter)
            FETCHED.hide(secrets_of_credential(fetched.credential))
            self._held, self._failed = fetched, None
        except trio.TooSlowError:
            self._fail(f"nothing came within {self._patience:g} s")
        except Exception as error:  # the border: a vendor's library raises what it likes
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._ended_at = self.clock()
            self._running = None
            done.set()

    def _fail(self, words: str) -> None:
        still = self._held is not None and self._held.validity(self.clock()) != "ended"
        log.warning(
            "%s: signing in failed%s: %s",
            self.sign_in.account.strip(),
            ", and the credential that is there is used on" if still else "",
            " ".join(words.split())[:LONGEST],
        )
        self._failed = ErrorInfo(
            "upstream",
            "the gateway could not sign in to the provider: its log says why, and sign_in of the entry says how",
            reason="credential",
            wait=REST,
        )
