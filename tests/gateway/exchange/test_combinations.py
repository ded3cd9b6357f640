"""Every two features together, in a covering array of conversations, each compared with its plain twin.

Features that each worked alone did not work with each other: a hedge released the request that its translation still
needed, a lost Redis connection failed streams that were cached. All of them must meet the same conditions
(``tests/support/combined.py``). The gate plays a sample; ``just combinations`` plays whole arrays of several seeds.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support import postgres, redis
from tests.support.cases import case as in_case_of
from tests.support.combined import ENDPOINT_FACTORS, FACTORS, Played, Servers, check, play, possible, twin
from tests.support.combined_jobs import JOB_FACTORS, check_job, play_job, possible_job, twin_of_job
from tests.support.covering import Case, covering
from tests.support.played_provider import played_provider

ARRAYS: Final = int(os.environ.get("COMBINATIONS", "0"))
"""Arrays that are played whole; none is a sample of the first."""
SAMPLE: Final = 3

Installed = tuple[redis.RedisServer | None, postgres.Server | None]


@pytest.fixture(scope="module")
def installed_servers() -> Iterator[Installed]:
    """Start Redis and PostgreSQL if they are installed."""
    with contextlib.ExitStack() as stack:
        binary, folder = redis.binary(), postgres.binaries()
        server = None if binary is None else stack.enter_context(redis.running_redis(binary))
        database = None if folder is None else stack.enter_context(postgres.running_server(folder))
        yield server, database
    redis.collect_left_open()


def test_an_array_contains_every_possible_pair_of_values():
    factors = {"a": ("1", "2", "3"), "b": ("1", "2"), "c": ("1", "2", "3"), "d": ("1", "2")}

    def is_possible(case: Case) -> bool:
        return (case.get("a"), case.get("b")) != ("3", "2")

    cases = covering(factors, is_possible)
    pairs = {pair for one in cases for pair in _pairs(one)}
    wanted = {((f, v), (g, w)) for f in factors for v in factors[f] for g in factors if f < g for w in factors[g]}
    assert pairs == wanted - {(("a", "3"), ("b", "2"))}
    assert len(cases) < 15
    assert covering(factors, is_possible) == cases
    assert covering(factors, is_possible, seed=1) != cases


def _pairs(case: Case) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    names = sorted(case)
    yield from (((f, case[f]), (g, case[g])) for at, f in enumerate(names) for g in names[at + 1 :])


@pytest.mark.server
@pytest.mark.filterwarnings("ignore:.*MemoryObject:pytest.PytestUnraisableExceptionWarning")  # coredis leaves them open
@pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
@pytest.mark.parametrize("factors", [FACTORS, ENDPOINT_FACTORS], ids=["conversations", "endpoints"])
@pytest.mark.parametrize("seed", range(max(1, ARRAYS)))
async def test_features_change_nothing_for_the_client_together_either(factors, seed, installed_servers, tmp_path):
    server, database = installed_servers
    cases = covering(factors, possible, seed)
    twins: dict[tuple[str, ...], Played] = {}
    for number, one in enumerate(cases if ARRAYS else cases[:SAMPLE]):
        async with played_provider() as provider:
            provider.names_itself = False
            servers = Servers(provider, _folder(tmp_path, number), server, database)
            if not servers.has(one):
                continue
            with in_case_of(one):
                plain = twin(one)
                key = tuple(plain.values())
                if key not in twins:
                    twins[key] = await play(plain, servers)
                check(one, await play(one, servers), twins[key])
    assert twins


@pytest.mark.server
@pytest.mark.filterwarnings("ignore:.*MemoryObject:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
@pytest.mark.parametrize("seed", range(max(1, ARRAYS)))
async def test_features_change_no_batch_and_no_session(seed, installed_servers, tmp_path):
    server, database = installed_servers
    cases = covering(JOB_FACTORS, possible_job, seed)
    async with played_provider() as provider:
        for number, one in enumerate(cases if ARRAYS else cases[: SAMPLE // 3]):
            servers = Servers(provider, _folder(tmp_path, number), server, database)
            if servers.has(one):
                with in_case_of(one):
                    check_job(await play_job(one, servers), await play_job(twin_of_job(one), servers))


def _folder(parent: Path, number: int) -> Path:
    folder = parent / str(number)
    folder.mkdir()
    return folder
