"""Ctrl-C in commands that run tasks."""

import signal

import pytest
import trio

from gateway.commands.terminal import INTERRUPTED, run_or_exit
from tests.support.harness import PATIENCE


@pytest.fixture
def ctrl_c_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_task_at_its_next_checkpoint(ctrl_c_interrupts, capsys):
    """Anywhere else, it could arrive between the call of a coroutine and its await, and Python would warn."""
    reached = []

    async def task() -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append("the next line")
        with trio.fail_after(PATIENCE):
            await trio.sleep_forever()

    with pytest.raises(SystemExit) as ended:
        run_or_exit(task)
    assert (ended.value.code, reached) == (INTERRUPTED, ["the next line"])
    assert capsys.readouterr().err == "interrupted; no report\n"
