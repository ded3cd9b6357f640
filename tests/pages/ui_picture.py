"""The pictures in ``docs/ui.md``: ``python -m tests.pages.ui_picture`` takes them from the demo, which ``trigate load``
keeps busy meanwhile."""

import base64
import contextlib
import subprocess
from pathlib import Path

from tests.support.browser import Page, browsing
from tests.support.command_line import COMMAND, environment, running_command
from tests.support.harness import ROOT

SECONDS = 45
HEIGHT = 1180
LOADS = (
    "--model demo --rate 1", "--model demo-chat --api messages --rate 1", "--model demo-messages --rate 0.7",
    "--model demo-responses --rate 0.7 --leave 40%:2s", "--model fault-messages/cut-after-20 --rate 0.15",
    "--model fault/slow-first-byte-2 --api messages --rate 0.35",
)  # fmt: skip
"""The options of each load."""
ROW = "[...document.querySelectorAll('#streams tbody tr')].find(row => row.innerText.includes('demo-messages'))"


def pictures(into: Path, seconds: float) -> None:
    """Take pictures after ``seconds`` of load: ``ui-light.webp`` and ``ui-dark.webp``."""
    with (
        running_command("serve", "--demo", "--port", "0", "--pace", "0.1") as process,
        contextlib.ExitStack() as loads,
    ):
        for options in LOADS:
            words = [*COMMAND, "load", process.url, "--seconds", "600", "--poisson", *options.split()]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            loads.callback(loads.enter_context(subprocess.Popen(words, env=environment(), **quiet)).kill)
        with browsing() as page:
            take(page, process.url, into, seconds)


def take(page: Page, url: str, into: Path, seconds: float) -> None:
    """Open a stream once the charts have data, and take a picture in each colour scheme."""
    page.look(height=HEIGHT)
    page.open(f"{url}/ui")
    page.until(f"performance.now() > {seconds * 1000} && {ROW}", seconds + 60)
    page.value(f"{ROW}.querySelector('button').click()")
    page.until("document.querySelectorAll('#passed .pair').length > 24")
    page.value("scrollTo(0, 0)")
    for scheme in ("light", "dark"):
        page.look(scheme, height=HEIGHT)
        page.value("new Promise(requestAnimationFrame)")
        picture = page.send("Page.captureScreenshot", format="webp", quality=45)["data"]
        (into / f"ui-{scheme}.webp").write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    pictures(ROOT / "docs", SECONDS)
