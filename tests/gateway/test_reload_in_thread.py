"""A reload delays no stream, however many keys and models the file has: reading 5,000 keys blocked the loop for 6 s."""

import time

import pytest

from gateway.config_files.loading import Config, from_mapping
from tests.support.features import needs_feature
from tests.support.in_process import gateway
from tests.support.large_files import file_with_keys, large_file
from tests.support.loop_steps import loop_steps
from tests.support.step_files import step_config

SLOW = 0.15
SLOW_IMPORT = f"""
import time

began = time.thread_time()
while time.thread_time() - began < {SLOW}:
    pass


def check(event):
    return None
"""


@pytest.mark.slow
async def test_a_configuration_is_read_and_compared_outside_the_event_loop():
    content, spent = large_file(150), 0.0
    async with gateway(content) as running:

        def read() -> Config:
            nonlocal spent
            began = time.thread_time()
            config = from_mapping({**content, "client_keys": content["client_keys"][1:]})
            spent = time.thread_time() - began
            return config

        with loop_steps() as steps:
            assert await running.served.reload(read)
        assert len(running.served.current[0].client_keys) == 149
    assert steps.longest < spent / 2, steps.task


async def test_new_keys_of_providers_are_hashed_outside_the_event_loop():
    """Each hash takes 20 ms: a rotation of 40 keys stopped all streams for a second."""
    async with gateway(file_with_keys(5, "before")) as running:
        spent, new = time_to_hash("others"), from_mapping(file_with_keys(5, "after"))
        with loop_steps() as steps:
            assert await running.served.reload(lambda: new)
    assert steps.longest < spent / 3, steps.task


def time_to_hash(keys: str) -> float:
    """Return the seconds of CPU that the hashes of a configuration's keys take."""
    config = from_mapping(file_with_keys(5, keys))
    began = time.thread_time()
    assert all(entry.issuer.account for entry in config.entries)
    return time.thread_time() - began


@needs_feature("steps")
async def test_the_code_of_a_step_is_imported_outside_the_event_loop(tmp_path):
    """A step may import a library that takes seconds."""
    new = step_config(tmp_path, "  - {name: slow, use: ./steps.py:check, at: [request]}", SLOW_IMPORT)
    async with gateway(large_file(2)) as running:
        with loop_steps() as steps:
            assert await running.served.reload(lambda: new)
        assert "steps" in running.served.current[1].opened.features
    assert steps.longest < SLOW / 2, steps.task


async def test_a_process_that_begins_to_stop_meanwhile_keeps_its_configuration(caplog):
    """Tasks for the new configuration could no longer start."""
    content = large_file(2)
    async with gateway(content) as running:

        def read() -> Config:
            running.service.lifecycle.draining = True
            return from_mapping({**content, "client_keys": content["client_keys"][1:]})

        before = running.served.current
        assert not await running.served.reload(read)
        assert running.served.current == before
    assert "Traceback" not in caplog.text
