"""The server of the page: on this machine alone, and for whoever has the token that its address contains."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import webbrowser
from functools import partial
from threading import Thread

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.settings import settings
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.web import RequestHandler

from spectral_icl.explore.choices import Choices
from spectral_icl.explore.page import Page
from spectral_icl.io.checks import ProblemError, integer
from spectral_icl.io.interrupts import ENDING, Terminated, answered

HOST = "127.0.0.1"
_TOKEN_BYTES = 24
_HEARTBEAT = 250  # milliseconds


class Explorer:
    """A server that listens, and answers once it runs.

    Every address begins with the token, those of scripts and of the websocket too, so that nothing is
    answered to who does not know it: another user of this machine, or a page of another site in the browser.

    Parameters
    ----------
    choices : Choices
        What a visitor sees first.
    title : str
        Where that is from.
    port : int
        0 for one that is free.

    Raises
    ------
    ProblemError
        The port is none, or taken.
    """

    def __init__(self, choices: Choices, title: str, port: int = 0) -> None:
        port = integer("port", port, minimum=0, maximum=65535)
        settings.resources = "server"  # whatever the environment says: no script from elsewhere
        logging.getLogger("bokeh").setLevel(logging.ERROR)
        token, self._once = (secrets.token_urlsafe(_TOKEN_BYTES) for _ in range(2))
        try:
            listening = socket.create_server((HOST, port))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()  # its own words name the address too
            raise ProblemError("port", port, f"a port that is free ({reason})") from None
        listening.setblocking(False)
        self.port = int(listening.getsockname()[1])
        self.url = f"http://{HOST}:{self.port}/{token}/"
        pages = BokehTornado(
            Application(FunctionHandler(partial(_open, choices=choices, title=title))),
            prefix=token,
            extra_websocket_origins=[f"{HOST}:{self.port}"],
            ico_path="none",
            default_handler_class=_Refusal,
            default_handler_args={"once": {self._once}, "url": self.url},
            log_function=lambda handler: None,
        )
        http = HTTPServer(pages)
        http.add_sockets([listening])
        self._server = BaseServer(IOLoop.current(), pages, http)
        self._server.start()

    def show(self) -> None:
        """Open the page in the user's browser."""
        # Its command line can be read by other users of this machine: so it has an address that works once.
        # In a thread, for a browser in this terminal would be waited for.
        url = f"http://{HOST}:{self.port}/{self._once}"
        Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    def run(self) -> None:
        """Answer until the process is interrupted.

        Raises
        ------
        KeyboardInterrupt, Terminated
            Always one of them, once nothing is answered any more.
        """
        loop = self._server.io_loop
        heard: list[int] = []

        def hear(number: int, *_: object) -> None:
            heard.append(number)
            loop.add_callback_from_signal(loop.stop)

        # a signal that comes just before the loop waits would be heard when something else wakes it
        PeriodicCallback(lambda: loop.stop() if heard else None, _HEARTBEAT).start()
        # raised by the handler it would come out of the middle of whatever runs, which may log or swallow it
        with answered(ENDING, hear):
            loop.start()
        self._server.stop(wait=False)
        raise KeyboardInterrupt if heard[:1] == [signal.SIGINT] else Terminated


class _Refusal(RequestHandler):
    """What is answered to an address without the token."""

    def initialize(self, once: set[str], url: str) -> None:
        self.once, self.url = once, url

    def prepare(self) -> None:
        name = self.request.path.removeprefix("/")
        if name in self.once:
            self.once.discard(name)
            self.redirect(self.url)
            return
        self.set_status(403)
        self.finish(
            "403: the address of this page contains a token; open the one that the command printed.\n"
        )


def _open(document: Document, choices: Choices, title: str) -> None:
    """Fill the page of a new visitor."""
    Page(document, choices, title)
