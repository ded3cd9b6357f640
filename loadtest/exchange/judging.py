"""Judges every answer against the grammar of its API, in a separate process.

Judging an event takes longer than reading it, and would delay the clocks of other streams here. The process has the
lowest priority, so that it takes no CPU time from a server on the same machine.
"""

import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from typing import Final, TypeAlias

import attrs
import trio

from loadtest.exchange.content import AnswerContent, error_message, read_answer
from streams.events import Api
from streams.garbage import freeze_startup_objects
from streams.structure import MAX_ELEMENTS, has_more_elements

HELD: Final = 64 * 2**20
"""Bytes of answers that may wait for the judge.

This process judges the answers beyond that: the load is then late, which the report shows, but memory stays bounded.
"""


@attrs.frozen
class ReceivedAnswer:
    """The received body of an answer with status 200. An answer that is not ``complete`` is read but not judged."""

    api: Api
    streamed: bool
    body: bytes
    complete: bool = True


AnswerJudge: TypeAlias = Callable[[ReceivedAnswer], Awaitable[AnswerContent]]


def judge_answer(answer: ReceivedAnswer) -> AnswerContent:
    """Return the content of an answer and its fault, computed in this process."""
    from providers.grammar import judge

    if not answer.streamed and has_more_elements(answer.body, MAX_ELEMENTS):
        return AnswerContent(fault="too large", detail=f"the answer has more than {MAX_ELEMENTS:,} JSON elements")
    content = read_answer(answer.api, answer.body, streamed=answer.streamed)
    if not answer.complete:
        return content
    verdict = judge(answer.api, answer.body, streamed=answer.streamed, tolerant=True)
    fault, detail = "", ""
    if verdict.outcome == "failed":
        fault, detail = content.fault or "error event: error", content.detail
    elif answer.streamed and not content.has_content:
        shown = f": {text}" if (text := error_message(answer.body)) else ""
        fault, detail = "no stream", f"the HTTP response ended normally, but without an answer{shown}"
    elif verdict.outcome == "cut":
        fault, detail = "cut", "the HTTP response ended normally, but before the end of the answer"
    elif verdict.broken is not None:
        fault, detail = f"grammar: {verdict.broken.rule}", verdict.broken.found
    elif not content.contents and not content.finish:
        fault, detail = "empty answer", "the answer has neither content nor a finish reason"
    return attrs.evolve(content, fault=fault, detail=detail, waived=tuple(verdict.waived))


@contextlib.asynccontextmanager
async def open_judge() -> AsyncIterator[AnswerJudge]:
    """Run a judge in a separate process until the end of the block."""
    token, held = trio.lowlevel.current_trio_token(), 0

    async def judge(answer: ReceivedAnswer) -> AnswerContent:
        nonlocal held
        if held + len(answer.body) > HELD:
            return judge_answer(answer)
        held += len(answer.body)
        try:
            future, done = pool.submit(judge_answer, answer), trio.Event()
            future.add_done_callback(lambda _: _call_in(token, done.set))
            await done.wait()
            return future.result()
        except BrokenProcessPool:  # the process was killed: judge here instead
            return judge_answer(answer)
        finally:
            held -= len(answer.body)

    pool = ProcessPoolExecutor(1, get_context("spawn"), _prepare_process)
    try:
        # Its start uses CPU, so it must be over before the measurement. The first verdict loads all modules.
        await judge(ReceivedAnswer("chat", True, b""))
        yield judge
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in active_children():
            process.kill()  # its last answer has lost its client


def _call_in(token: trio.lowlevel.TrioToken, call: Callable[[], object]) -> None:
    with contextlib.suppress(trio.RunFinishedError):  # after the second Ctrl-C
        token.run_sync_soon(call)


def _prepare_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the load tester, which ends this process
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    os.nice(19)
    judge_answer(ReceivedAnswer("chat", True, b""))
    freeze_startup_objects()


def _exit_with_parent() -> None:
    """Wait until the load tester is gone, also if it was killed."""
    if (parent := parent_process()) is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
