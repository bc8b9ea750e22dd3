"""A headless Chromium, driven over a pipe (the Chrome DevTools Protocol): without a port.

A page's methods raise `PageFault` if a script of the page, or the browser, reports an error.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_TIMEOUT_S = 60.0
_LOOK_AGAIN_S = 0.02
_PIPE_IN, _PIPE_OUT = 3, 4  # what --remote-debugging-pipe reads and writes
_FREE = 10  # descriptors from here on are none of these
_KEYS = {
    "Enter": ("Enter", 13, "\r"),
    "Tab": ("Tab", 9, ""),
    " ": ("Space", 32, " "),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "Home": ("Home", 36, ""),
    "End": ("End", 35, ""),
    "t": ("KeyT", 84, "t"),
}


class PageFault(AssertionError):
    """A script failed, or the browser refused something: a page must have no errors."""


class Navigated(PageFault):
    """The page has been left for another one meanwhile."""


class Browser:
    """A running Chromium; a context manager through `running`."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._rest = b""
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._profiles: list[str] = []
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result. Raises PageFault if it is refused."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._writes, data) :]
        until = time.monotonic() + _TIMEOUT_S
        while number not in self._answers:
            self.listen(until - time.monotonic())
            if time.monotonic() > until:
                raise PageFault(f"no answer to {method}")
        answer = self._answers.pop(number)
        if "error" in answer:
            told = str(answer["error"]["message"])
            raise (Navigated if "navigated" in told else PageFault)(f"{method}: {told}")
        return dict(answer["result"])

    def listen(self, timeout_s: float) -> None:
        """Take in what the browser says next, within that time."""
        if not select.select([self._reads], [], [], max(0.0, timeout_s))[0]:
            return
        data = os.read(self._reads, 1 << 20)
        if not data:
            raise PageFault("the browser has ended")
        *messages, self._rest = (self._rest + data).split(b"\0")
        for each in map(json.loads, messages):
            if "id" in each:
                self._answers[each["id"]] = each
            else:
                self.events.append(each)

    def open(
        self,
        address: str,
        *,
        width: int = 1280,
        height: int = 800,
        media: Mapping[str, str] | None = None,
    ) -> Page:
        """Open a page in a profile of its own. `media`: features such as prefers-color-scheme."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        self._profiles.append(context)
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        page.prefer(media or {})
        page.call("Page.navigate", url=address)
        page.until("document.readyState === 'complete'")
        return page

    def close_pages(self) -> None:
        """Close all that were opened, and forget their profiles."""
        while self._profiles:
            profile = self._profiles.pop()
            self.call("Target.disposeBrowserContext", browserContextId=profile)
        self.events.clear()


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the viewport, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, media: Mapping[str, str]) -> None:
        """Set features such as prefers-color-scheme."""
        features = [{"name": name, "value": value} for name, value in media.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise PageFault(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, expression: str, timeout_s: float = _TIMEOUT_S) -> Any:
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + timeout_s
        plain = f"(v => v instanceof Element || v)({expression})"
        while not (value := self._evaluated(plain)):
            if time.monotonic() > end:
                shown = self.evaluate("document.body.innerText")
                raise PageFault(f"{expression} has not come true; the page says:\n{shown}")
            self._browser.listen(_LOOK_AGAIN_S)
        return value

    def _evaluated(self, expression: str) -> Any:
        """Return the value of an expression, None if the page is left for the next one."""
        try:
            return self.evaluate(expression)
        except Navigated:
            return None

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Click the middle of an element with a real mouse event."""
        self.until(f"document.querySelector({json.dumps(selector)}) ")
        at = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=at[0],
                y=at[1],
                button="none" if kind == "mouseMoved" else "left",
                clickCount=1,
            )

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            code, number, text = _KEYS[key]
            about = {"key": key, "code": code, "windowsVirtualKeyCode": number}
            kind = "keyDown" if text else "rawKeyDown"
            self.call("Input.dispatchKeyEvent", type=kind, text=text, **about)
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def faults(self) -> list[str]:
        """Return what scripts and the browser complained of so far."""
        found = []
        for each in self._events():
            said = each["params"]
            match each["method"]:
                case "Runtime.exceptionThrown":
                    found.append(str(said["exceptionDetails"]))
                case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning"):
                    found.append(str(said["args"]))
                case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                    found.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        return found

    def sent(self) -> list[dict[str, Any]]:
        """Return all requests of the page: `url`, `headers` and what else the browser tells."""
        return [
            each["params"]["request"]
            for each in self._events()
            if each["method"] == "Network.requestWillBeSent"
        ]

    def screenshot(self, path: Path) -> None:
        """Write what is shown as PNG."""
        found = self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        path.write_bytes(base64.b64decode(found["data"]))

    def _events(self) -> list[dict[str, Any]]:
        return [each for each in self._browser.events if each.get("sessionId") == self._session]


@contextmanager
def running() -> Iterator[Browser]:
    """Yield a Chromium, which ends with the block, and with it its profile."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is missing: scripts/test installs it"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _FREE) for each in (theirs_in, theirs_out)]
        os.close(theirs_in)
        os.close(theirs_out)
        process = os.posix_spawn(
            program,
            [
                program,
                "--headless=new",
                "--no-sandbox",  # as root
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
                "--hide-scrollbars",
                "--lang=en",
                "about:blank",
            ],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, high[0], _PIPE_IN),
                (os.POSIX_SPAWN_DUP2, high[1], _PIPE_OUT),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setpgroup=0,
        )
        for each in high:
            os.close(each)
        try:
            yield Browser(ours_in, ours_out)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(ours_in)
            os.close(ours_out)
