"""Counters in Redis or Valkey: a script performs each step there atomically, by the server's clock. Requires the extra
``redis``."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final, cast

import trio

from gateway.counters.counter_store import CounterStoreUnavailable, SendStep
from gateway.stores.redis import RedisScript, connect_redis

_STEP: Final = """
local asked, P = cjson.decode(ARGV[1]), '{trigate}:'
local ALIVE, me, opened = KEYS[1], P..'process:'..asked.name, P..'claims:'..asked.name
local MOST_TOTAL, MOST_SECONDS = 1e18, 1e9
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

local last = tonumber(redis.call('HGET', me, 'number') or '0')
if last == asked.number and last > 0 then return redis.call('HGET', me, 'reply') end
if last ~= asked.number - 1 or (last == 0 and asked.joins == 0) then return '{"lost":1}' end

local function whole(number) return string.format('%.0f', number) end
local function place(counter) return P..'counter:'..counter[2] end
local function full_of(key) return tonumber(redis.call('GET', key) or '0') end

local function fill(key, full)
    full = math.min(full, now + MOST_SECONDS)
    if full > now then redis.call('SET', key, string.format('%.6f', full), 'PX', whole((full - now) * 1000 + 1000))
    else redis.call('DEL', key) end
end

local function debit(key, refill, amount)
    local full = full_of(key)
    if amount > 0 and full < now then full = now end
    if amount ~= 0 then fill(key, full + amount * refill) end
end

local function add(key, field, amount)
    if tonumber(redis.call('HGET', key, field) or '0') + tonumber(amount) < MOST_TOTAL then
        redis.call('HINCRBY', key, field, amount)
    else redis.call('HSET', key, field, whole(MOST_TOTAL)) end  -- the server fails beyond 2^63
end

local function keep(key, counter)
    if counter[1] == 'sum' then redis.call('EXPIREAT', key, whole(math.min(counter[4], now + 4000000) + 3600)) end
end

local function hold(name, debits, rates)
    if redis.call('HEXISTS', opened, name) == 1 then return end
    local kept = {}
    for _, one in ipairs(debits) do
        local key = place(one)
        if one[1] == 'rate' then
            if rates then debit(key, one[3], tonumber(one[6])) end
        elseif one[6] ~= '0' then
            add(key, 'held', one[6])
            keep(key, one)
        end
        kept[#kept + 1] = {one[1], key, one[1] == 'rate' and one[3] or 0, one[6]}
    end
    redis.call('HSET', opened, name, cjson.encode(kept))
end

local function release(of, name, refund)
    local kept = redis.call('HGET', of, name)
    if not kept then return end
    redis.call('HDEL', of, name)
    for _, one in ipairs(cjson.decode(kept)) do
        if one[1] == 'rate' then
            if refund then debit(one[2], one[3], -tonumber(one[4])) end
        elseif one[4] ~= '0' then
            if redis.call('HINCRBY', one[2], 'held', '-'..one[4]) <= 0 then redis.call('HDEL', one[2], 'held') end
        end
    end
end

local function forget(name, most)
    redis.call('DEL', P..'process:'..name)
    local of, count = P..'claims:'..name, 0
    for index, id in ipairs(redis.call('HSCAN', of, '0', 'COUNT', most)[2]) do
        if index % 2 == 1 then release(of, id, false); count = count + 1 end
    end
    if redis.call('EXISTS', of) == 0 then redis.call('ZREM', ALIVE, name); return true end
end

local function state(counter)
    if counter[1] == 'rate' then return full_of(place(counter)), 0, 0, 0 end
    local found = redis.call('HMGET', place(counter), 'used', 'held')
    local before, waiting = 0, 0
    for _, key in ipairs(counter[5]) do
        local slice = redis.call('HMGET', P..'counter:'..key, 'used', 'held')
        before, waiting = before + tonumber(slice[1] or '0'), waiting + tonumber(slice[2] or '0')
    end
    return tonumber(found[1] or '0'), tonumber(found[2] or '0'), before, waiting
end

local function told(counter)
    local value, held, before, waiting = state(counter)
    local text = counter[1] == 'rate' and string.format('%.6f', value) or whole(value)
    return '['..text..','..whole(held)..','..whole(before)..','..whole(waiting)..']'
end

local function fits(one)
    local amount = tonumber(one[6])
    if amount == 0 then return true end
    local value, held, before, waiting = state(one)
    if one[1] == 'rate' then
        return math.max(value, now) + math.min(amount * one[3], one[4]) - now - one[4] <= 0.000001
    end
    return value + held + before + waiting + amount <= tonumber(one[3])
end

for _, name in ipairs(asked.former) do while not forget(name, 100) do end end
for _, one in ipairs(asked.raised) do
    local key = place(one)
    if one[1] == 'rate' then
        if tonumber(one[6]) > full_of(key) then fill(key, tonumber(one[6])) end
    elseif tonumber(one[6]) > tonumber(redis.call('HGET', key, 'used') or '0') then
        redis.call('HSET', key, 'used', one[6])
        keep(key, one)
    end
end
for _, one in ipairs(asked.holds) do hold(one[1], one[2], false) end
for _, one in ipairs(asked.ended) do release(opened, one[1], one[2] == 1) end

local added = {}
for index, one in ipairs(asked.added) do
    if one[1] == 'rate' then debit(place(one), one[3], tonumber(one[6]))
    else add(place(one), 'used', one[6]); keep(place(one), one) end
    added[index] = told(one)
end

local reserved = {}
for index, claims in ipairs(asked.reserved) do
    local room, states = true, {}
    for _, claim in ipairs(claims) do
        for _, one in ipairs(claim[2]) do room = fits(one) and room end
    end
    for _, claim in ipairs(claims) do
        if room then hold(claim[1], claim[2], true) end
        for _, one in ipairs(claim[2]) do states[#states + 1] = told(one) end
    end
    reserved[index] = '['..(room and 1 or 0)..',['..table.concat(states, ',')..']]'
end

local looked = {}
for index, one in ipairs(asked.looked) do looked[index] = told(one) end

local NOTES, MOST_NOTES, NOTES_PER_STEP = P..'notes', 100000, 500
local function may_note(name)
    if tonumber(redis.call('ZSCORE', NOTES, name) or '0') <= asked.read_to then return true end
    local text = redis.call('GET', P..'note:'..name)
    return not text or cjson.decode(text)[1] == asked.name
end
for _, one in ipairs(asked.noted) do if may_note(one[1]) then
    redis.call('SET', P..'note:'..one[1], cjson.encode({asked.name, one[2]}), 'PX', whole(one[3]))
    redis.call('ZADD', NOTES, redis.call('INCR', P..'serial'), one[1])
end end
if #asked.noted > 0 then
    for index, key in ipairs(redis.call('ZRANGE', NOTES, '0', whole(-MOST_NOTES - 1))) do
        redis.call('DEL', P..'note:'..key); redis.call('ZREM', NOTES, key)
    end
end
local noted, read_to = {}, asked.read_to
local found = redis.call(
    'ZRANGEBYSCORE', NOTES, '('..whole(read_to), '+inf', 'WITHSCORES', 'LIMIT', '0', whole(NOTES_PER_STEP))
for index = 1, #found, 2 do
    local key = P..'note:'..found[index]
    local text = redis.call('GET', key)
    read_to = tonumber(found[index + 1])
    if not text then redis.call('ZREM', NOTES, found[index]) else
        local one = cjson.decode(text)
        if one[1] ~= asked.name then
            noted[#noted + 1] = cjson.encode({found[index], one[2], redis.call('PTTL', key)})
        end
    end
end

for _, name in ipairs(redis.call('ZRANGEBYSCORE', ALIVE, '-inf', '('..string.format('%.3f', now - asked.lease))) do
    if name ~= asked.name and not forget(name, 100) then break end
end
redis.call('ZADD', ALIVE, string.format('%.3f', now), asked.name)
local reply = '{"time":'..string.format('%.6f', now)..',"alive":'..redis.call('ZCARD', ALIVE)
    ..',"reserved":['..table.concat(reserved, ',')..'],"added":['..table.concat(added, ',')
    ..'],"looked":['..table.concat(looked, ',')..'],"noted":['..table.concat(noted, ',')
    ..'],"read_to":'..whole(read_to)..'}'
if asked.leaves == 1 then
    forget(asked.name, 1000)
else
    redis.call('HSET', me, 'number', asked.number, 'reply', reply)
end
return reply
"""
"""One step (``steps.py``).

Rates are stored as refill times, sums and slots as hashes of used and held amounts. A note has its writer
and its value, and its number in the order of all notes. Each process has a hash of its open claims, its last step and
reply, and its time among the live processes."""

_SCRIPT: Final = RedisScript(_STEP, "{trigate}:", ("alive",))


class RedisCounters:
    """A counter store in the server at ``url``: ``redis://``, ``rediss://`` (TLS) or ``unix://``."""

    title = "Redis"

    def __init__(self, url: str) -> None:
        self._url = url

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[SendStep]:
        async with connect_redis(self._url, 1, CounterStoreUnavailable) as client:

            async def send(text: bytes, limit: float) -> bytes:
                with trio.move_on_after(limit):
                    return cast("bytes", await client.run(_SCRIPT, text))
                raise CounterStoreUnavailable(f"no response for {limit:g} s")

            yield send
