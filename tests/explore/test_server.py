"""Who is answered: this machine alone, and only who knows the token."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from explorer import PATH, started

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    "Sec-WebSocket-Protocol": "bokeh, token",
}


def ask(url: str, path: str, **headers: str) -> HTTPResponse:
    """What the server of an address answers to a path."""
    at = urlsplit(url)
    assert at.hostname is not None
    connection = HTTPConnection(at.hostname, at.port, timeout=10)
    try:
        connection.request(
            "GET", path, headers={key.replace("_", "-"): value for key, value in headers.items()}
        )
        return connection.getresponse()
    finally:
        connection.close()


def test_with_the_token_there_is_a_page(url: str) -> None:
    path = urlsplit(url).path
    assert ask(url, path).status == 200
    assert ask(url, f"{path}static/js/bokeh.min.js").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/ws", "/static/js/bokeh.min.js", "/metadata", "/autoload.js", "/favicon.ico", "/x" * 20]
)
def test_without_the_token_all_is_refused(url: str, path: str) -> None:
    wrong = "/" + urlsplit(url).path.strip("/")[::-1]
    for asked in (path, wrong + path):
        answer = ask(url, asked)
        assert answer.status in (403, 404)
        assert answer.status == 403 or path == "/favicon.ico"


def test_a_websocket_needs_the_token_and_our_page(url: str) -> None:
    at = urlsplit(url)
    ours = f"http://{at.netloc}"
    assert ask(url, f"{at.path}ws", **UPGRADE, Origin=ours).status == 101
    assert ask(url, f"{at.path}ws", **UPGRADE, Origin="http://elsewhere.example").status == 403
    assert ask(url, "/ws", **UPGRADE, Origin=ours).status == 403
    assert ask(url, f"/{'A' * 32}/ws", **UPGRADE, Origin=ours).status == 403


def test_no_other_address_of_this_machine_answers(url: str) -> None:
    port = urlsplit(url).port
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address that was printed, and the one that a browser was started with."""
    told = tmp_path / "told"
    browser = tmp_path / "browser.py"
    browser.write_text(f"import sys; open({str(told)!r}, 'w').write(sys.argv[1])")
    process, url = started("--browser", BROWSER=f"{sys.executable} {browser} %s")
    try:
        for _ in range(200):
            if told.exists() and told.read_text():
                break
            time.sleep(0.05)
        yield url, told.read_text()
    finally:
        process.kill()
        process.communicate()


def test_what_a_browser_is_started_with_works_once(opened: tuple[str, str]) -> None:
    """Its command line can be read by others on this machine, so that it is not the token."""
    url, once = opened
    assert urlsplit(url).path.strip("/") not in once
    first = ask(url, urlsplit(once).path)
    assert (first.status, first.getheader("Location")) == (302, url)
    assert ask(url, urlsplit(once).path).status == 403


WAITING = """
import os, signal, threading, time
from spectral_icl.explore.choices import Choices
from spectral_icl.explore.server import Explorer
from spectral_icl.multitask.experiment import BUILT_IN

def interrupt():
    time.sleep(1.0)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

explorer = Explorer(Choices.of(BUILT_IN), "here")
threading.Thread(target=interrupt, daemon=True).start()
try:
    explorer.run()
except KeyboardInterrupt:
    print("ended", flush=True)
    os._exit(0)
"""


def test_a_signal_that_does_not_wake_the_server_ends_it_too() -> None:
    """It may come just before the server waits; here another thread has it, which wakes it as little."""
    done = subprocess.run(
        [sys.executable, "-c", WAITING],
        env={**os.environ, "PYTHONPATH": PATH},
        stdout=subprocess.PIPE,
        text=True,
        timeout=12,
        check=True,
    )
    assert done.stdout == "ended\n"
