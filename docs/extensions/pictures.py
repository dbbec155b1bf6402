"""What the gallery takes from a script: its `figure`, and its place among the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

# first what the papers show, softmax attention and then sparse regression; last what only the theory can
ORDER = [
    *("circuits", "trajectories", "phases", "heads", "context_length", "length_generalisation"),
    *("p2o_steps", "p2o_context", "p2o_plane", "p2o_heads"),
    *("escape", "sgd_noise", "head_budget", "three_laws"),
    *("emergence", "allocation", "general_starts", "overlap", "intercept", "nonlinear_laws"),
    *("validity", "margins", "saturated", "solvers"),
    *("scaling_law", "emergence_times", "separation"),
]
RESOLUTION = 160  # dots per inch


def scraped(block: tuple[str, str, int], variables: dict[str, Any], configuration: dict[str, Any]) -> str:
    """Save the `figure` of a block that has made one; the figures of the package are not pyplot's."""
    figure = variables["example_globals"].pop("figure", None)
    if figure is None:
        return ""
    path = next(variables["image_path_iterator"])
    figure.savefig(path, dpi=RESOLUTION)
    return str(figure_rst([path], configuration["src_dir"], str(figure.get_label())))


class Order:
    """Scripts in the order of `ORDER`, which has all of them."""

    def __init__(self, folder: str) -> None:
        """Sphinx-gallery gives the folder."""

    def __call__(self, name: str) -> int:
        """The place of a script."""
        return ORDER.index(Path(name).stem)
