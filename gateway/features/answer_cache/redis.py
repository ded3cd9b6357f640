"""Cached responses in Redis or Valkey, which several gateways may share. Requires the extra ``redis``."""

import math
import time
from collections.abc import Callable
from typing import Final, cast

import trio

from gateway.features.answer_cache.store import AnswerStoreUnavailable
from gateway.stores.redis import RedisClient, RedisScript, connect_redis

ROW: Final = 300
"""The overhead of an entry in bytes."""
CONNECTIONS: Final = 16
RECONNECT_AFTER: Final = 1.0
"""Seconds until reconnecting to an unreachable server."""

_NO_OWNER: Final = b"\xff"
"""The name of the empty owner, which is no UTF-8: the empty field of the owners' bytes is the sum of all."""

_PUT_TEXT: Final = """
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

_GET_TEXT: Final = """
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

_PUT, _GET = (RedisScript(text, "{trigate-answers}:", ("used", "about", "owners")) for text in (_PUT_TEXT, _GET_TEXT))


class _ClientInUse:
    """A client until it fails, and the cancel scopes of the tasks that use it."""

    def __init__(self, client: RedisClient) -> None:
        self.client = client
        self.scopes: set[trio.CancelScope] = set()


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
                async with connect_redis(self._url, CONNECTIONS, AnswerStoreUnavailable) as client:
                    self._in_use = _ClientInUse(client)
                    await client.broken.wait()
                    self._retire()
            except AnswerStoreUnavailable:
                pass
            finally:
                self._retire()
            await trio.sleep(max(0.0, began + RECONNECT_AFTER - trio.current_time()))  # no delay after a good one

    def _retire(self) -> None:
        """Cancel all tasks that use the client: closing its connections would not wake them."""
        for scope in () if self._in_use is None else self._in_use.scopes:
            scope.cancel()
        self._in_use = None

    async def get(self, key: bytes) -> bytes | None:
        return cast("bytes | None", await self._run_script(_GET, key.hex(), self._clock()))

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        size = len(value) + ROW
        if size <= self._max_bytes // 2:
            milliseconds = max(1, math.ceil(ttl * 1000))
            named = owner.encode(errors="replace") or _NO_OWNER
            await self._run_script(_PUT, key.hex(), named, size, self._clock(), milliseconds, self._max_bytes, value)

    async def aclose(self) -> None:
        """Do nothing: the client closes when ``run`` ends."""

    async def _run_script(self, script: RedisScript, *arguments: object) -> object:
        if (in_use := self._in_use) is None:
            raise AnswerStoreUnavailable("it is unreachable")
        with trio.CancelScope() as scope:
            in_use.scopes.add(scope)
            try:
                return await in_use.client.run(script, *arguments)
            finally:
                in_use.scopes.discard(scope)
        raise AnswerStoreUnavailable("it is unreachable")
