"""A reload delays no stream, however many keys and models the file has: reading 5,000 keys blocked the loop for 6 s."""

import time

import pytest

from gateway.config.loading import Config, from_mapping
from tests.support.in_process import gateway
from tests.support.large_files import large_file
from tests.support.loop_steps import loop_steps


@pytest.mark.slow
async def test_a_configuration_is_read_and_compared_outside_the_event_loop():
    content, spent = large_file(300), 0.0
    async with gateway(content) as running:

        def read() -> Config:
            nonlocal spent
            began = time.thread_time()
            config = from_mapping({**content, "client_keys": content["client_keys"][1:]})
            spent = time.thread_time() - began
            return config

        with loop_steps() as steps:
            assert await running.served.reload(read)
        assert len(running.served.current[0].client_keys) == 299
    assert steps.longest < spent / 2, steps.task


async def test_a_process_that_begins_to_stop_meanwhile_keeps_its_configuration(caplog):
    """Its tasks for the new configuration could not start any more."""
    content = large_file(2)
    async with gateway(content) as running:

        def read() -> Config:
            running.service.lifecycle.draining = True
            return from_mapping({**content, "client_keys": content["client_keys"][1:]})

        before = running.served.current
        assert not await running.served.reload(read)
        assert running.served.current == before
    assert "Traceback" not in caplog.text
