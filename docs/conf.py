"""How the site is built: python -m sphinx -W -b html docs docs/_build/html."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "extensions")]
# what the pages run has these, in the kernels of their own too
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])

from spectral_icl import __version__  # noqa: E402

project = "spectral-icl"
author = "the authors of spectral-icl"
copyright = "the authors of spectral-icl, MIT licence"
release = version = __version__

extensions = [
    "myst_nb",  # pages in Markdown, and the cells that some of them run
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "plain_docstrings",
    "numpydoc",  # the docstrings are in its format
    "sphinx_proof",  # numbered theorems
    "sphinxcontrib.bibtex",
    "sphinx_gallery.gen_gallery",
    "mathml",  # formulas that need no script and no network
    "repository",  # links to code and derivations
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
exclude_patterns = ["_build", "extensions", "gallery/*.ipynb", "gallery/*.py", "**/sg_execution_times.rst"]
html_theme = "furo"
html_title = f"spectral-icl {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
default_role = "py:obj"  # names in single backticks, as in the docstrings

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_url_schemes = {"http": None, "https": None, "mailto": None, "repository": None}
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables, in what cells return

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

bibtex_bibfiles = ["../spectral_icl/citation.bib", "references.bib"]
bibtex_default_style = "unsrt"
html_math_renderer = "mathml"

_SCRIPTS = DOCS / "_build" / "scripts"  # a copy, since the scripts write their figures where they are run


def _copied() -> str:
    shutil.rmtree(_SCRIPTS, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "gallery", _SCRIPTS, ignore=shutil.ignore_patterns("__*"))
    return str(_SCRIPTS)


sphinx_gallery_conf = {
    "examples_dirs": _copied(),
    "gallery_dirs": "gallery",
    "filename_pattern": ".py",
    "image_scrapers": ("pictures.scraped",),
    "capture_repr": (),
    "within_subsection_order": "pictures.Order",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "show_memory": False,
    # times differ from build to build
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "matplotlib_animations": False,
}
