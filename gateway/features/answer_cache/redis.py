"""Cached responses in Redis or Valkey, which several gateways may share. Requires the extra ``redis``."""

import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import Final, cast

import anyio
import coredis
import trio
from coredis.exceptions import AuthenticationError, AuthorizationError, NoScriptError, RedisError
from coredis.retry import NoRetryPolicy

from gateway.features.answer_cache.store import AnswerStoreUnavailable

ROW: Final = 300
"""The overhead of an entry in bytes."""
CONNECTIONS: Final = 16
RECONNECT_AFTER: Final = 1.0
"""Seconds until reconnecting to an unreachable server."""

_NO_OWNER: Final = b"\xff"
"""The name of the empty owner, which is no UTF-8: the empty field of the owners' bytes is the sum of all."""

_PREFIX: Final = b"{trigate-answers}:"
_KEYS: Final = tuple(_PREFIX + name for name in (b"used", b"about", b"owners"))
_FAILURES: Final = (
    RedisError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream,
    RuntimeError,  # raised by a pool that is closed while in use
)  # fmt: skip

_PUT: Final = """
local P, used, about, owners = '{trigate-answers}:', KEYS[1], KEYS[2], KEYS[3]
local key, owner, size, now, ttl, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])

local function remove(one)
    local told = redis.call('HGET', about, one)
    redis.call('DEL', P..'answer:'..one)
    redis.call('ZREM', used, one)
    if not told then return end
    local bytes, of = string.match(told, '^(%d+) (.*)$')
    redis.call('HDEL', about, one)
    redis.call('ZREM', P..'owner:'..of, one)
    if redis.call('HINCRBY', owners, of, '-'..bytes) <= 0 then redis.call('HDEL', owners, of) end
    redis.call('HINCRBY', owners, '', '-'..bytes)
end

local function bytes_of(of) return tonumber(redis.call('HGET', owners, of) or '0') end

remove(key)
while bytes_of(owner) + size > most / 2 do
    local first = redis.call('ZRANGE', P..'owner:'..owner, 0, 0)[1]
    if not first then break end
    remove(first)
end
while bytes_of('') + size > most do
    local first = redis.call('ZRANGE', used, 0, 0)[1]
    if not first then break end
    remove(first)
end
redis.call('SET', P..'answer:'..key, ARGV[7], 'PX', ttl)
redis.call('HSET', about, key, size..' '..owner)
redis.call('ZADD', used, now, key)
redis.call('ZADD', P..'owner:'..owner, now, key)
redis.call('HINCRBY', owners, owner, size)
redis.call('HINCRBY', owners, '', size)
"""
"""Store a response. Expired ones count until they are the least recently used."""

_GET: Final = """
local P, used, about = '{trigate-answers}:', KEYS[1], KEYS[2]
local found = redis.call('GET', P..'answer:'..ARGV[1])
if not found then return found end
local told = redis.call('HGET', about, ARGV[1])
if told then
    redis.call('ZADD', used, 'XX', ARGV[2], ARGV[1])
    redis.call('ZADD', P..'owner:'..string.match(told, '^%d+ (.*)$'), 'XX', ARGV[2], ARGV[1])
end
return found
"""

_SHA: Final = {one: hashlib.sha1(one.encode(), usedforsecurity=False).hexdigest() for one in (_PUT, _GET)}

logging.getLogger("coredis").setLevel(logging.CRITICAL)  # failures are logged here, in one line without traceback


class _ClientInUse:
    """A client until it fails, and the cancel scopes of the tasks that use it."""

    def __init__(self, client: "coredis.Redis[bytes]") -> None:
        self.client = client
        self.broken = trio.Event()
        self.scopes: set[trio.CancelScope] = set()

    def retire(self) -> None:
        """Cancel all tasks that use the client: closing its connections would not wake them."""
        for scope in self.scopes:
            scope.cancel()


class RedisAnswers:
    """A response store of ``max_bytes`` bytes in the server at ``url``: ``redis://``, ``rediss://`` (TLS) or
    ``unix://``."""

    def __init__(self, url: str, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._max_bytes = max_bytes
        self._clock = clock
        self._in_use: _ClientInUse | None = None

    async def run(self) -> None:
        """Keep a client connected, and replace it when it fails."""
        while True:
            began = trio.current_time()
            try:
                # No retries: waiting requests have no time for them.
                client = coredis.Redis.from_url(
                    self._url, retry_policy=NoRetryPolicy(), max_connections=CONNECTIONS, verify_version=False
                )
                async with client:
                    self._in_use = _ClientInUse(client)
                    await self._in_use.broken.wait()
                    self._retire()
            except _FAILURES:
                pass
            except BaseExceptionGroup as group:  # raised by the client's nursery
                _, others = group.split(_FAILURES)
                if others is not None:
                    raise
            finally:
                self._retire()
            await trio.sleep(max(0.0, began + RECONNECT_AFTER - trio.current_time()))  # no delay after a good one

    def _retire(self) -> None:
        if self._in_use is not None:
            self._in_use.retire()
        self._in_use = None

    async def get(self, key: bytes) -> bytes | None:
        return cast("bytes | None", await self._run_script(_GET, [key.hex(), self._clock()]))

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        size = len(value) + ROW
        if size <= self._max_bytes // 2:
            milliseconds = max(1, math.ceil(ttl * 1000))
            named = owner.encode(errors="replace") or _NO_OWNER
            await self._run_script(_PUT, [key.hex(), named, size, self._clock(), milliseconds, self._max_bytes, value])

    async def aclose(self) -> None:
        """Do nothing: the client closes when ``run`` ends."""

    async def _run_script(self, script: str, arguments: list[object]) -> object:
        if (in_use := self._in_use) is None:
            raise AnswerStoreUnavailable("it is unreachable")
        with trio.CancelScope() as scope:
            in_use.scopes.add(scope)
            try:
                return await _evaluate(in_use.client, script, arguments)
            except (AuthenticationError, AuthorizationError):
                raise AnswerStoreUnavailable(
                    "it rejects the user, the password, or scripts on keys with this prefix"
                ) from None
            except _FAILURES:
                in_use.broken.set()
                raise AnswerStoreUnavailable("it is unreachable") from None
            finally:
                in_use.scopes.discard(scope)
        raise AnswerStoreUnavailable("it is unreachable")


async def _evaluate(client: "coredis.Redis[bytes]", script: str, arguments: list[object]) -> object:
    keys, values = list(_KEYS), cast("list[bytes]", arguments)
    try:
        return await client.evalsha(_SHA[script], keys, values)
    except NoScriptError:
        return await client.eval(script, keys, values)
