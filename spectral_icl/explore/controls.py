"""The sliders and lists of the page: one for every dial, those that are in force shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bokeh.models import CategoricalSlider, Div, Row, Select, UIElement

from spectral_icl.explore.choices import Choices
from spectral_icl.explore.dials import Dial, dials

WIDTH = 140  # pixels of a control, at least
_NARROW = 70  # of one that shares its line
_HEADINGS = {"model": "Model", "problem": "Data", "tasks": "Tasks", "start": "Start and end"}


class Controls:
    """All controls of a page.

    Parameters
    ----------
    choices : Choices
        What they show first.
    turned : callable
        Called with the path and the value of a dial that a visitor has turned.

    Attributes
    ----------
    parts : list of UIElement
        What is on the page, from the top down.
    """

    def __init__(self, choices: Choices, turned: Callable[[str, object], None]) -> None:
        self._turned = turned
        self._dials = dials(choices)
        self._widgets = {dial.path: self._widget(dial, choices) for dial in self._dials}
        self.parts: list[UIElement] = []
        for group, heading in _HEADINGS.items():
            own = [self._widgets[dial.path] for dial in self._dials if dial.group == group]
            if own:
                self.parts.append(Div(text=f"<b>{heading}</b>", margin=(6, 4, 0, 4)))
            if group == "tasks":
                pairs = [own[k : k + 2] for k in range(0, len(own), 2)]
                self.parts += [Row(*pair, sizing_mode="stretch_width") for pair in pairs]
            else:
                self.parts += own

    def show(self, choices: Choices) -> None:
        """Show the controls that are in force, and no others."""
        for dial in self._dials:
            widget, shown = self._widgets[dial.path], dial.shown(choices)
            if widget.visible != shown:
                widget.visible = shown

    def _widget(self, dial: Dial, choices: Choices) -> Any:
        """The control of a dial, at its position in the choices."""
        common: dict[str, Any] = {
            "title": dial.label,
            "value": dial.texts[dial.values.index(choices.at(dial.path))],
            "name": dial.path,
            "visible": dial.shown(choices),
            "min_width": _NARROW if dial.group == "tasks" else WIDTH,
            "sizing_mode": "stretch_width",
            "margin": (1, 4, 1, 4),
        }
        if dial.is_scale:
            widget: Any = CategoricalSlider(categories=dial.texts, **common)
        else:
            widget = Select(options=dial.texts, **common)
        widget.on_change("value", partial(self._changed, dial))
        return widget

    def _changed(self, dial: Dial, attr: str, old: str, new: str) -> None:
        self._turned(dial.path, dial.value(new))
