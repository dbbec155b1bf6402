"""What can be read in a figure that was drawn, and where."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text


def renderer(figure: Figure) -> Any:
    """The renderer of a figure that was drawn."""
    return figure.canvas.get_renderer()  # type: ignore[attr-defined]


def legends(figure: Figure) -> Iterator[Legend]:
    yield from figure.findobj(Legend)


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that can be read: titles, labels, numbers, legends, and the ticks inside their axes."""
    for axes in figure.get_axes():
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            inside = [tick for tick in ticks if low <= tick.get_loc() <= high]
            yield from (label for tick in inside for label in (tick.label1, tick.label2))
            yield axis.get_offset_text()
    for legend in legends(figure):
        yield from legend.get_texts()


def collisions(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that overlap."""
    readable = [text for text in texts(figure) if text.get_visible() and text.get_text().strip()]
    boxes = [text.get_window_extent(renderer(figure)) for text in readable]
    found = []
    for (a, first), (b, second) in combinations(zip(readable, boxes, strict=True), 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        if wide >= -2.0 and high >= 2.0:  # in pixels: words on one line need a gap between them
            found.append((a.get_text(), b.get_text()))
    return found


def inside_page(figure: Figure) -> bool:
    """Whether nothing is drawn outside the page, to a hundredth of an inch."""
    box = figure.get_tightbbox(renderer(figure))
    width, height = figure.get_size_inches()
    return bool(min(box.x0, box.y0, width - box.x1, height - box.y1) >= -0.01)
