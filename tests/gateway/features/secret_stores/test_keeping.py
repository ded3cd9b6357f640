"""The secrets that a process keeps in memory, and failures of their stores."""

import pytest
import trio
import trio.testing

from configfile.stored_secrets import StoredSecret
from gateway.config_files.loading import Config, from_mapping
from gateway.features.secret_stores import keeping
from gateway.features.secret_stores.keeping import PAUSE, SecretKeeper
from tests.support.secret_store import FIXED_TOKEN, SecretStoreServer, open_stores

KEY = StoredSecret("vault", "secret/a#key")


@pytest.fixture
def server():
    with open_stores() as stores:
        stores.secrets["secret/a"] = {"key": "one"}
        yield stores


def config(server: SecretStoreServer, url: str | None = None) -> Config:
    return from_mapping(
        {
            "version": "v0.4.0",
            "model_providers": [{"model": "openai/a", "access_key": {"vault": KEY.place}}],
            "secret_stores": {"vault": {"url": url or server.url, "token": FIXED_TOKEN}},
        }
    )


async def test_the_start_waits_only_for_a_limited_time_for_a_store_that_is_down(server):
    server.down = 503
    settings = config(server)
    async with SecretKeeper(settings) as keeper:
        began = trio.current_time()
        await keeper.read_first(settings, patience=1.2)
        assert trio.current_time() - began >= 1.2
        assert len(server.calls) >= 2, "it tries again"
        assert keeper.unread(settings) == (KEY,)
        server.down = 0
        await keeper.read_first(settings)
        assert keeper.texts == {str(KEY): "one"}
        assert keeper.stale == 0


async def test_the_start_does_not_wait_for_a_secret_that_does_not_exist(server):
    del server.secrets["secret/a"]
    settings = config(server)
    async with SecretKeeper(settings) as keeper:
        await keeper.read_first(settings)
        assert len(server.calls) == 2, "its sign-in and one read"
        assert keeper.unread(settings) == (KEY,)


async def test_rejected_keys_are_read_again_at_a_limited_rate_however_many_requests_fail(server):
    now, settings = [0.0], config(server)
    applied: list[str] = []
    async with SecretKeeper(settings, clock=lambda: now[0]) as keeper:
        await keeper.read_first(settings)

        async def apply() -> None:
            applied.append(keeper.texts[str(KEY)])

        keeper.apply = apply
        server.calls.clear()
        found: list[str | None] = []

        async def renew(refused: str) -> None:
            found.append(await keeper.renew(KEY, refused))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(renew, "one")
        assert (found, len(server.calls), applied) == ([None] * 20, 1, [])
        server.secrets["secret/a"] = {"key": "two"}
        now[0] = PAUSE + 1
        await renew("one")
        await renew("one")
        assert (found[-2:], len(server.calls), applied) == (["two", "two"], 2, ["two"])


async def test_all_requests_that_a_rotated_key_fails_get_its_new_value(server):
    """Only the first one waited for the store: the others got a 502, and the target a cooldown of ten minutes."""
    settings = config(server)
    async with SecretKeeper(settings) as keeper:
        await keeper.read_first(settings)
        server.secrets["secret/a"] = {"key": "two"}
        server.calls.clear()
        found: list[str | None] = []

        async def renew() -> None:
            found.append(await keeper.renew(KEY, "one"))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(renew)
        assert (found, len(server.calls)) == (["two"] * 20, 1)


async def test_a_client_that_leaves_while_its_key_is_read_takes_the_value_from_no_other(server):
    settings = config(server)
    async with SecretKeeper(settings) as keeper:
        await keeper.read_first(settings)
        server.secrets["secret/a"] = {"key": "two"}
        with trio.CancelScope() as leaving:
            leaving.cancel()
            await keeper.renew(KEY, "one")
        assert leaving.cancelled_caught
        assert await keeper.renew(KEY, "one") == "two"


@pytest.fixture
async def silent():
    """Run a store that accepts connections and never responds."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


@pytest.mark.parametrize("waits_for", ["the store", "another read", "a reload"])
async def test_a_rejected_request_waits_only_for_a_limited_time(server, silent, monkeypatch, waits_for):
    monkeypatch.setattr(keeping, "RENEWAL_SECONDS", 0.1)
    settings = config(server) if waits_for == "a reload" else config(server, silent)
    server.secrets["secret/a"] = {"key": "two"}
    async with SecretKeeper(settings, {str(KEY): "one"}) as keeper, trio.open_nursery() as nursery:
        keeper.apply = trio.sleep_forever
        if waits_for == "another read":
            nursery.start_soon(keeper.read, (KEY,))
            await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            found = await keeper.renew(KEY, "one")
        assert found == ("two" if waits_for == "a reload" else None)
        nursery.cancel_scope.cancel()
