"""The client of a Redis server: each failure is an error of the caller's, without the server's text."""

from collections.abc import Iterator

import pytest

from gateway.stores.redis import RedisScript, connect_redis
from tests.support import redis

SCRIPT = RedisScript("return redis.call('INCRBY', KEYS[1], ARGV[1])", "{test}:", ("count",))

pytestmark = [pytest.mark.server, *redis.LEFT_OPEN]


@pytest.fixture(scope="module", autouse=True)
def collect_connections() -> Iterator[None]:
    yield
    redis.collect_left_open()


class Gone(Exception):
    """The caller's error."""


async def run(url: str) -> object:
    async with connect_redis(url, 1, Gone) as client:
        return await client.run(SCRIPT, 1)


async def test_a_script_runs_whether_or_not_the_server_knows_it(redis_server):
    redis_server.say("FLUSHALL")
    redis_server.say("SCRIPT", "FLUSH")
    assert [await run(redis_server.url) for _ in range(2)] == [1, 2]


async def test_a_rejected_user_is_distinguished_from_an_unavailable_server(redis_server, tmp_path):
    redis_server.say("ACL", "SETUSER", "guest", "on", ">right", "~other:*", "+@all")
    try:
        for user, reason in (
            ("guest:wrong", "it rejects the user or the password"),
            ("guest:right", r"its user may not run scripts on keys with the prefix \{test\}:"),
        ):
            with pytest.raises(Gone, match=f"^{reason}$"):
                await run(f"unix://{user}@{redis_server.socket}")
    finally:
        redis_server.say("ACL", "DELUSER", "guest")
    with pytest.raises(Gone, match="unreachable"):
        await run(f"unix://{tmp_path}/none")


async def test_a_client_of_a_server_that_is_gone_is_broken(redis_server):
    with redis.running_redis(redis_server.bin) as own:
        async with connect_redis(own.url, 1, Gone) as client:
            assert await client.run(SCRIPT, 1) == 1
            assert not client.broken.is_set()
            own.stop()
            with pytest.raises(Gone, match="unreachable"):
                await client.run(SCRIPT, 1)
            assert client.broken.is_set()


async def test_the_callers_own_error_passes(redis_server):
    with pytest.raises(Gone, match="mine"):
        async with connect_redis(redis_server.url, 1, Gone):
            raise Gone("mine")
