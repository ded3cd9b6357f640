"""Chromium without a window, driven over its DevTools protocol through a pair of pipes."""

import atexit
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import PATIENCE

COMMAND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_WITH_CHROMIUM = pytest.mark.skipif(COMMAND is None, reason="there is no chromium on this machine")

_SLOW = 30.0  # a cold start on a machine that is busy


def needs_chromium(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test that needs Chromium, which is a process. It is skipped if there is none."""
    marked: Callable[..., Any] = pytest.mark.process(_WITH_CHROMIUM(test))
    return marked


class _Browser:
    """A running Chromium with an empty profile. ``complaints`` of each page, by its session, are messages from its
    console and its security policy."""

    def __init__(self, process: "subprocess.Popen[bytes]", to: int, out: int) -> None:
        self.process, self._to, self._out = process, to, out
        self._rest = b""
        self._number = 0
        self.complaints: dict[str, list[str]] = {}

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Return the result of a command to the browser, or to the page of ``session``."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _SLOW
        while (answer := self._receive(deadline)).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert time.monotonic() < deadline, "the browser does not answer"
            data = os.read(self._out, 1 << 16)
            assert data, "the browser has ended"
            self._rest += data
        raw, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        return message

    def _note(self, message: Mapping[str, Any]) -> None:
        params, complaints = message.get("params", {}), self.complaints.get(message.get("sessionId", ""), [])
        match message.get("method"):
            case "Runtime.exceptionThrown":
                complaints.append(json.dumps(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                complaints.append(params["entry"]["text"])


class Page:
    """One page in a profile of its own. ``complaints`` are messages from its console and its security policy."""

    def __init__(self, browser: _Browser, profile: str) -> None:
        self._browser = browser
        target = browser.send("Target.createTarget", url="about:blank", browserContextId=profile)["targetId"]
        self._session: str = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.complaints = browser.complaints[self._session] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of a command."""
        return self._browser.send(method, self._session, **params)

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Open ``url``. ``headers`` are sent with every request of the page."""
        self.send("Network.setExtraHTTPHeaders", headers=dict(headers or {}))
        assert "errorText" not in (found := self.send("Page.navigate", url=url)), found
        self.until("location.protocol !== 'about:' && document.readyState === 'complete'")

    def value(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, (script, found)
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the visible text of an element, or "" if there is none."""
        return str(self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def until(self, script: str, seconds: float = PATIENCE) -> Any:
        """Return the first true value of an expression, ``True`` for an element. Fails the test after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not (value := self.value(f"(found => found instanceof Node || found)({script})")):
            assert time.monotonic() < deadline, f"{script} did not come true; the page says {self.text('body')[:3000]}"
            time.sleep(0.02)
        return value

    def click(self, selector: str) -> None:
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str) -> None:
        """Press and release a key, named as in ``KeyboardEvent.key``."""
        text = {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40}
        for kind in ("keyDown", "keyUp"):
            pressed = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            self.send("Input.dispatchKeyEvent", **pressed, **(text if kind == "keyDown" else {}))

    def look(self, scheme: str = "light", width: int = 1280, height: int = 1000) -> None:
        """Set the colour scheme and the size of the page."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def shoot(self, file: Path) -> None:
        """Write a screenshot as PNG."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def browsing() -> Iterator[Page]:
    """Open a page with an empty profile until the end of the block. All pages of this process are in one browser, for
    it takes a second to start."""
    browser = _the_browser()
    profile = browser.send("Target.createBrowserContext")["browserContextId"]
    try:
        yield Page(browser, profile)
    finally:
        browser.send("Target.disposeBrowserContext", browserContextId=profile)


def _the_browser() -> _Browser:
    """Return the browser of this process, which ends with it."""
    global _started
    if _started is None or _started.process.poll() is not None:
        stack = contextlib.ExitStack()
        _started = stack.enter_context(_running())
        atexit.register(stack.close)
    return _started


_started: _Browser | None = None


@contextlib.contextmanager
def _running() -> Iterator[_Browser]:
    assert COMMAND is not None
    from_us, to = os.pipe()
    out, from_it = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [
            "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run", "--no-sandbox",
            "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions",
            "--disable-component-update", "--no-proxy-server",
        ]  # fmt: skip
        # Pipes 3 and 4 belong to the protocol. A shell opens others and then becomes the browser.
        script = f'exec 3<&{from_us} 4>&{from_it}; exec "$0" "$@"'
        process = subprocess.Popen(
            ["bash", "-c", script, COMMAND, *flags], pass_fds=(from_us, from_it),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(from_us)
        os.close(from_it)
        try:
            yield _Browser(process, to, out)
        finally:
            os.close(to)
            process.terminate()
            process.wait(PATIENCE)
            os.close(out)
