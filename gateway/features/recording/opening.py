"""Opens the recordings of ``trigate serve --record``."""

import logging
import re
from pathlib import Path
from typing import Final

import trio

from gateway.config.credentials import secrets_in
from gateway.config.settings import Config
from gateway.features.recording.buckets import Bucket
from gateway.features.recording.recorded import Folder
from gateway.features.recording.recording import Recorder
from gateway.ledger.ledger import Ledger
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running

log = logging.getLogger("trigate")

FINISH_SECONDS: Final = 10.0
"""Seconds for the last recordings when the process ends: a bucket may accept none for hours."""


class RunningRecorder(Running):
    """The recorder of a process."""

    has_tasks = True

    def __init__(self, recorder: Recorder, ledger: Ledger, place: str) -> None:
        self.hooks = Hooks(observe=(recorder.observe,))
        self._recorder = recorder
        self._ledger = ledger
        self._place = place

    def use(self) -> None:
        self._recorder.hide(self._ledger.mask.secrets)

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._recorder.run)
            task_status.started()
            await ending.wait()
            with trio.move_on_after(FINISH_SECONDS) as limit:
                await self._recorder.finish()
            if limit.cancelled_caught:
                log.warning("the last recordings are not written: %s did not accept them in time", self._place)
            nursery.cancel_scope.cancel()


def open_recorder(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the recorder, which lasts as long as the process. Raises ``OSError`` for an unusable folder or bucket."""
    if before is not None:
        return before
    place = str(ports.options["record"])
    return RunningRecorder(Recorder(open_target(place), secrets_in(config)), ports.ledger, place)


def open_target(place: str) -> Folder | Bucket:
    """Return the folder or bucket at ``place``. Raises ``OSError`` if it is not writable, and ``LookupError``."""
    return Bucket(place) if re.match(r"\w+://", place) else Folder(Path(place))
