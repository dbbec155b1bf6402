"""What is to change in the browser, sent as one message and applied at once.

Bokeh sends every property of every model as a message of its own, and looks through all models for some of
them. A flow changes some thirty, and the browser would begin to draw before the last has come.
"""

from __future__ import annotations

from typing import Any

from bokeh.model import Model
from bokeh.models import Axis

# JavaScript that applies the changes of a source; the server has them already, and is not told
APPLY = """
for (const [id, attributes] of source.data.changes[0]) {
  const model = source.document.get_model_by_id(id)
  model.setv(attributes, {sync: false, check_eq: false})
}
"""


class Changes:
    """New values of properties of models, of which Python keeps no other record.

    Attributes
    ----------
    known : dict
        The last value of every property that was changed, by model and name.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Any] = {}
        self._new: dict[str, dict[str, Any]] = {}

    def set(self, model: Model, **properties: Any) -> None:
        """Change properties of a model; those that stay what they were are left out."""
        for name, value in properties.items():
            key = (model.id, name)
            # a table of columns is new: to compare it would cost more than to send it
            if isinstance(value, dict) or key not in self.known or self.known[key] != value:
                self._new.setdefault(model.id, {})[name] = value
                self.known[key] = value

    def mark(self, axis: Axis, names: dict[float, str]) -> None:
        """Give an axis, whose ticker is a fixed one, ticks with names."""
        if self.known.get((axis.id, "major_label_overrides")) != names:
            self.set(axis.ticker, ticks=list(names))
            self.set(axis, major_label_overrides=names)

    def of(self, model: Model, name: str) -> Any:
        """What a property is in the browser, or will be."""
        return self.known[model.id, name]

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """All changes since they were taken before."""
        new, self._new = list(self._new.items()), {}
        return new
