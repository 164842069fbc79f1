# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Chromium without a window, driven through its DevTools pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_DEADLINE_S = 120.0
# Pixels around a part of a page.
_MARGIN = 12
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and writes to 4.
_LAUNCH = """
import fcntl, os, sys
commands, answers = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 10) for text in sys.argv[1:3]]
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page in a Chromium of its own. A context manager: leaving it ends the browser."""

    def __init__(self, program: str, profile: Path) -> None:
        commands, self._to_browser = os.pipe()
        self._from_browser, answers = os.pipe()
        arguments = [program, *_FLAGS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(commands), str(answers), *arguments],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._unread = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        """What the browser said without being asked, so far."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(_DEADLINE_S)
        os.close(self._to_browser)
        os.close(self._from_browser)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, path: Path, *, dark: bool = False, media: str = "screen") -> None:
        """Load a file and wait until it is all there."""
        self.events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path, *, whole_page: bool = False, part: str | None = None) -> Path:
        """A PNG of the window, of the whole page, or of what a CSS selector finds in the window."""
        clip = {} if part is None else {"clip": self._place(part)}
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole_page, **clip)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def _place(self, part: str) -> dict[str, float]:
        """Where in the window it is, with a margin."""
        box = f"document.querySelector({json.dumps(part)}).getBoundingClientRect()"
        x, y, width, height = self.evaluate(f"(b => [b.x, b.y, b.width, b.height])({box})")
        left, top = max(0, x - _MARGIN), max(0, y - _MARGIN)
        right, bottom = x + width + _MARGIN, y + height + _MARGIN
        return {"x": left, "y": top, "width": right - left, "height": bottom - top, "scale": 1}

    def complaints(self) -> Sequence[str]:
        """Everything on the console and in the log since the page was opened."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event) for event in self.events if event.get("method") in kinds]

    def requested(self) -> Sequence[str]:
        """The addresses of all that the page has loaded."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def _read(self) -> dict[str, Any]:
        deadline_s = time.monotonic() + _DEADLINE_S
        while b"\0" not in self._unread:
            left_s = max(0.0, deadline_s - time.monotonic())
            assert select.select([self._from_browser], [], [], left_s)[0], "Chromium is silent"
            chunk = os.read(self._from_browser, 1 << 20)
            assert chunk, "Chromium has ended"
            self._unread += chunk
        message, self._unread = self._unread.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer
