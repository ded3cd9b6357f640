"""Scripts on a Redis or Valkey server, which performs each atomically. Requires the extra ``redis``."""

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final, cast

import anyio
import attrs
import coredis
import trio
from coredis.exceptions import AuthenticationError, AuthorizationError, NoScriptError, RedisError
from coredis.retry import NoRetryPolicy

_FAILURES: Final = (RedisError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)

logging.getLogger("coredis").setLevel(logging.CRITICAL)  # failures are logged in one line without traceback


@attrs.frozen(repr=False)
class RedisScript:
    """A script in Lua for the keys ``names`` with ``prefix``, a hash tag: a cluster stores its keys together."""

    text: str
    prefix: str
    names: Sequence[str]
    digest: str = attrs.field(init=False)

    @digest.default
    def _digest_of_text(self) -> str:
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class RedisClient:
    """A connected client, which raises ``error`` without the server's text: that may repeat what it received.

    ``broken`` is set when the connection has failed."""

    def __init__(self, client: "coredis.Redis[bytes]", error: type[Exception]) -> None:
        self.broken = trio.Event()
        self._client = client
        self._error = error

    async def run(self, script: RedisScript, *arguments: object) -> object:
        """Return the result of ``script``, which may have run even if this is cancelled."""
        keys = [f"{script.prefix}{name}".encode() for name in script.names]
        values = cast("list[bytes]", list(arguments))
        try:
            try:
                return await self._client.evalsha(script.digest, keys, values)
            except NoScriptError:
                return await self._client.eval(script.text, keys, values)
        except AuthorizationError:
            raise self._error(f"its user may not run scripts on keys with the prefix {script.prefix}") from None
        except (*_FAILURES, RuntimeError) as error:  # ``RuntimeError`` of a pool that is closed while in use
            if not isinstance(error, AuthenticationError):
                self.broken.set()
            raise self._error(_reason(error)) from None


@contextlib.asynccontextmanager
async def connect_redis(url: str, connections: int, error: type[Exception]) -> AsyncIterator[RedisClient]:
    """Connect to the server at ``url`` for the block: ``redis://``, ``rediss://`` (TLS) or ``unix://``.

    Raises ``error`` if the client fails, or if the block raises it."""
    try:
        # No retries: only the callers know what may be sent again, and waiting requests have no time.
        client = coredis.Redis.from_url(
            url, retry_policy=NoRetryPolicy(), max_connections=connections, verify_version=False
        )
        async with client:
            yield RedisClient(client, error)
    except _FAILURES as failure:
        raise error(_reason(failure)) from None
    except BaseExceptionGroup as group:  # raised by the client's nursery
        expected, others = group.split((*_FAILURES, error))
        if expected is None or others is not None:
            raise
        first: BaseException = expected
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise (first if isinstance(first, error) else error(_reason(first))) from None


def _reason(failure: BaseException) -> str:
    return "it rejects the user or the password" if isinstance(failure, AuthenticationError) else "it is unreachable"
