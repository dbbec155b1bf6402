"""A running explorer, and what is done with its page in a browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import Any

PATH = os.pathsep.join(path for path in sys.path if path)


def started(*args: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A process that explores, and the address that it printed.

    Its environment asks for scripts from elsewhere, which must not be listened to.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "spectral_icl", "explore", "--no-browser", *args],
        env={
            **os.environ,
            "PYTHONPATH": PATH,
            "BOKEH_RESOURCES": "cdn",
            "PYTHONFAULTHANDLER": "1",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job ignores it, and so would what is started here until it is ready
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", said)
    if found is None:
        process.kill()
        raise AssertionError(said + process.communicate()[1])
    return process, found[0]


def frame(page: Any) -> int:
    """The number of the last frame that the browser has drawn."""
    return int(page.evaluate("document.documentElement.dataset.frame || 0"))


def drawn(page: Any, before: int) -> None:
    """Wait until a frame after that of a number is drawn, and complete."""
    page.wait_for_function(
        """before => {
            const page = document.documentElement.dataset
            return Number(page.frame || 0) > before && page.complete === "true"
        }""",
        arg=before,
        polling=5,
    )


def handle(page: Any, label: str) -> Any:
    """The handle of a slider that is shown."""
    return page.locator(".bk-input-group", has_text=label).locator(".noUi-handle:visible")


def copied(page: Any, label: str) -> str:
    """What a button puts on the clipboard."""
    page.evaluate("navigator.clipboard.writeText('')")
    page.get_by_role("button", name=label).click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text !== '')")
    return str(page.evaluate("navigator.clipboard.readText()"))
