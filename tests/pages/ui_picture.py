"""The pictures in ``docs/ui.md``: ``python -m tests.pages.ui_picture`` takes them from the demo, which ``trigate load``
keeps busy meanwhile."""

import base64
import subprocess
import tempfile
from pathlib import Path

from tests.support.browser import Page, browsing
from tests.support.command_line import COMMAND, environment, running_command
from tests.support.harness import ROOT

SECONDS = 45
HEIGHT = 1180
LOAD = """
rate: 4
seconds: 600
spacing: poisson
requests:
  - {model: demo, weight: 3}
  - {model: demo-chat, api: messages, weight: 3}
  - {model: demo-messages, weight: 2, extra: {seed: 1}}
  - {model: demo-responses, weight: 2, cancel: {share: 40%, after: 2s}}
  - {model: fault-messages/cut-after-20, api: chat, weight: 0.4}
  - {model: fault/slow-first-byte-2, api: messages, weight: 1}
"""
ROW = "[...document.querySelectorAll('#streams tbody tr')].find(row => row.innerText.includes('demo-messages'))"


def pictures(into: Path, seconds: float) -> None:
    """Take pictures after ``seconds`` of load: ``ui-light.webp`` and ``ui-dark.webp``."""
    with (
        running_command("serve", "--demo", "--port", "0", "--pace", "0.1") as process,
        tempfile.TemporaryDirectory() as folder,
    ):
        scenario = Path(folder) / "load.yml"
        scenario.write_text(f"url: {process.url}\n{LOAD}")
        load = subprocess.Popen([*COMMAND, "load", str(scenario)], env=environment(), stderr=subprocess.DEVNULL)
        try:
            with browsing() as page:
                take(page, process.url, into, seconds)
        finally:
            load.kill()
            load.wait()


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
