"""The page of one visitor: controls that change choices, a worker that solves them, pictures that show it.

Nothing waits in a line. Of the choices that come while a flow is solved only the last is solved, and of the
frames that come while the browser draws only the last is drawn.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import resources
from threading import get_ident
from time import perf_counter
from typing import Any

from bokeh.document import Document
from bokeh.models import (
    Button,
    Column,
    ColumnDataSource,
    CustomJS,
    Row,
    Slider,
    UIElement,
)

from spectral_icl.explore.changes import APPLY
from spectral_icl.explore.choices import Choices
from spectral_icl.explore.controls import WIDTH, Controls
from spectral_icl.explore.frame import Frame, solved
from spectral_icl.explore.latest import Latest
from spectral_icl.explore.view import View
from spectral_icl.io.checks import ProblemError
from spectral_icl.multitask.context import LAWS
from spectral_icl.multitask.flow.solution import IntegrationError

_SOON = 0.15  # seconds; work that takes longer is spoken of
_GLANCE = 200  # milliseconds between looks at whether it does
_REMEMBERED = 4  # times
_TEXTS = ("text", "toml", "script")  # of a frame, and where they are in page.html
# run when the last part of a frame has come: the browser draws before it calls back the second time
_DRAWN = """
requestAnimationFrame(() => requestAnimationFrame(() => {
  const page = document.documentElement.dataset
  page.frame = String(frame.data.number[0])
  page.bounds = String(frame.data.bounds[0])
  page.complete = String(frame.data.text[0] !== "")
  for (const name of names) {
    document.getElementById(name).textContent = frame.data[name][0]
  }
  drawn.data = {number: [frame.data.number[0]]}
}))
"""
_STATUS = """
const line = document.getElementById("status")
line.textContent = status.data.text[0]
line.className = status.data.kind[0]
"""
_COPY = """
const text = frame.data[what][0]
if (text === "") { return }
const say = (word) => { button.label = word; setTimeout(() => { button.label = label }, 1200) }
navigator.clipboard.writeText(text).then(() => say("Copied"), () => say("Not allowed: copy it below"))
"""

_log = logging.getLogger("spectral_icl")


class Page:
    """One visitor's page.

    Parameters
    ----------
    document : Document
        What the browser shows, empty.
    choices : Choices
        What it shows first.
    title : str
        Where the first problem is from.
    """

    def __init__(self, document: Document, choices: Choices, title: str) -> None:
        self.document, self.choices, self.title = document, choices, title
        self.controls = Controls(choices, self._turned)
        self.view = View()
        self.status_source = ColumnDataSource({"text": ["solving the first flow ..."], "kind": ["busy"]})
        self.cursor = Slider(
            start=0.0,
            end=1.0,
            step=0.005,
            value=1.0,
            title="cursor (share of the axis of time)",
            show_value=False,
            min_width=WIDTH,
            sizing_mode="stretch_width",
        )
        texts = {key: [""] for key in _TEXTS}
        self.frame_source = ColumnDataSource({"number": [0], "bounds": [0], "changes": [[]], **texts})
        self.pointed_source = ColumnDataSource({"changes": [[]]})
        self.drawn_source = ColumnDataSource({"number": [0]})
        self.frame: Frame | None = None
        self._waiting: Frame | None = None  # until the browser has drawn the one before
        self._sent = self._drawn = 0
        self._asked = self._answered = 0
        self._since = 0.0
        self._calls: deque[Callable[[], None]] = deque()
        self._said = ""  # of the work under way
        # seconds that benchmarks took, by law: several, since those of a problem that was seen take none
        self._finding: dict[str, deque[float]] = {law: deque(maxlen=_REMEMBERED) for law in LAWS}
        self.latest: Latest[tuple[int, Choices]] = Latest(self._answer)
        self._wire()
        self._lay_out()
        self._ask()

    def _wire(self) -> None:
        """Say what calls what."""
        self.cursor.on_change("value", lambda attr, old, new: self._point())
        self.view.loss.plot.on_event("tap", self._tapped)
        drawn = CustomJS(
            args={"frame": self.frame_source, "drawn": self.drawn_source, "names": list(_TEXTS)}, code=_DRAWN
        )
        # which makes them parts of the document
        self.cursor.tags = [self.frame_source, self.drawn_source, self.pointed_source, self.status_source]
        for source in (self.frame_source, self.pointed_source):
            source.js_on_change("data", CustomJS(args={"source": source}, code=APPLY))
        # what was sent before the browser was there is in the document that it begins with
        self.document.js_on_event("document_ready", CustomJS(args={"source": self.frame_source}, code=APPLY))
        self.frame_source.js_on_change("data", drawn)
        self.document.js_on_event("document_ready", drawn)
        self.drawn_source.on_change("data", self._has_drawn)
        said = CustomJS(args={"status": self.status_source}, code=_STATUS)
        self.status_source.js_on_change("data", said)
        self.document.js_on_event("document_ready", said)
        self.document.add_periodic_callback(self._glance, _GLANCE)
        self.document.on_session_destroyed(lambda context: self.latest.close())

    def _lay_out(self) -> None:
        """Put everything on the page."""
        buttons = []
        for label, what in (("Copy TOML", "toml"), ("Copy Python", "script")):
            button = Button(label=label, min_width=80, sizing_mode="stretch_width", name=f"copy-{what}")
            copy = CustomJS(
                args={"frame": self.frame_source, "what": what, "button": button, "label": label}, code=_COPY
            )
            button.js_on_event("button_click", copy)
            buttons.append(button)
        own = [Row(*buttons, sizing_mode="stretch_width"), self.cursor]
        roots: dict[str, UIElement] = {
            "controls": Column(*own, *self.controls.parts, sizing_mode="stretch_width"),
            "loss": self.view.loss.plot,
            "maps": self.view.maps.plot,
            "omega": self.view.omega.plot,
            "mu": self.view.mu.plot,
        }
        for name, root in roots.items():
            root.name = name
            self.document.add_root(root)
        self.document.title = "spectral-icl explore"
        self.document.template = resources.files(__package__).joinpath("page.html").read_text("utf-8")

    # what the visitor does

    def _turned(self, path: str, value: object) -> None:
        self.choices = self.choices.turned(path, value)
        self.controls.show(self.choices)
        self._ask()

    def _tapped(self, event: Any) -> None:
        if self.frame is not None and event.x is not None and event.x > 0.0:
            self.cursor.value = self.frame.fraction(event.x)

    def _point(self) -> None:
        if self.frame is not None:
            self.view.point(self.frame, self.cursor.value)
            self.pointed_source.data = {"changes": [self.view.changes.take()]}

    # what the worker does

    def _ask(self) -> None:
        if self._answered == self._asked:
            self._since = perf_counter()
        self._asked += 1
        self.latest.ask((self._asked, self.choices))

    def _answer(self, question: tuple[int, Choices]) -> None:
        """Solve, in the thread of the worker, and leave the rest to the thread of the page."""
        number, choices = question
        began = perf_counter()
        try:
            self._hears("")
            with _told(self._hears):
                found = solved(choices, f"explored from {self.title}")
                seconds = perf_counter() - began
                if max(self._finding[choices.at("model.kernel")], default=math.inf) < _SOON:
                    found = self._with_bounds(found)
                self._later(partial(self._arrived, 0, found, seconds))  # there is more to come
                if self.latest.is_stale:
                    return
                if not found.bounds:
                    found = self._with_bounds(found)
                self._later(partial(self._arrived, number, found.complete(), seconds))
        except (ProblemError, IntegrationError) as error:
            self._later(partial(self._failed, number, str(error)))
        except MemoryError:
            self._later(partial(self._failed, number, "out of memory"))
        except Exception as error:  # a mistake of ours: the page goes on, and the terminal has the whole
            _log.exception("the explorer could not solve %s", choices.table())
            self._later(partial(self._failed, number, f"{type(error).__name__}: {error}"))

    def _with_bounds(self, found: Frame) -> Frame:
        """The frame with its benchmarks, and the time that these take remembered."""
        began = perf_counter()
        found = found.with_bounds()
        self._finding[found.solution.options.kernel].append(perf_counter() - began)
        return found

    def _hears(self, text: str) -> None:
        self._later(partial(setattr, self, "_said", text))

    def _later(self, call: Callable[[], None]) -> None:
        """Have the thread of the page make a call, after those that it was asked for before."""
        self._calls.append(call)
        # not the call itself: what is asked for before the visitor is there comes in any order
        self.document.add_next_tick_callback(self.catch_up)

    def catch_up(self) -> None:
        """Make the calls that the worker asked for, in order."""
        while self._calls:
            self._calls.popleft()()

    def _arrived(self, number: int, found: Frame, seconds: float) -> None:
        """Take a frame; of one that is not complete yet the number is 0."""
        self._since = perf_counter()
        if number:
            self._answered, self._said = number, ""
            steps = found.solution.stats.steps
            self._say(f"solved in {1e3 * seconds:.0f} ms, {steps} steps; {found.solution.message}", "good")
        else:
            self._said = "finding its benchmarks and its report ..."
        self._waiting = found
        self._show()

    def _failed(self, number: int, why: str) -> None:
        self._answered, self._said, self._waiting = number, "", None
        kept = "" if self.frame is None else " (below is the last flow that could be solved)"
        self._say(f"{why}{kept}", "error")

    def _glance(self) -> None:
        """Speak of work that takes long."""
        seconds = perf_counter() - self._since
        if self._answered < self._asked and seconds > _SOON:
            self._say(f"{seconds:.0f} s: {self._said or 'solving the flow ...'}", "busy")

    # what the browser does

    def _show(self) -> None:
        """Send the frame that waits, unless the browser is still drawing another."""
        if self._waiting is None or self._drawn < self._sent:
            return
        before, self.frame, self._waiting = self.frame, self._waiting, None
        self._sent += 1
        if not self.frame.looks_like(before):
            self.view.show(self.frame, self.cursor.value)
        texts = {key: [getattr(self.frame, key)] for key in _TEXTS}
        self.frame_source.data = {
            "number": [self._sent],
            "bounds": [len(self.frame.bounds)],
            "changes": [self.view.changes.take()],
            **texts,
        }

    def _has_drawn(self, attr: str, old: Any, new: Any) -> None:
        self._drawn = int(new["number"][0])
        self._show()

    def _say(self, text: str, kind: str) -> None:
        self.status_source.data = {"text": [text], "kind": [kind]}


@contextmanager
def _told(tell: Callable[[str], None]) -> Iterator[None]:
    """A block of which what the package logs in this thread is told, such as that it compiles."""
    thread = get_ident()

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                tell(record.getMessage())

    teller = Teller(logging.INFO)
    _log.addHandler(teller)
    try:
        yield
    finally:
        _log.removeHandler(teller)
