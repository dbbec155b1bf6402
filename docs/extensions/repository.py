"""Files of the repository as pages of the site, with an anchor at every definition and step of a derivation.

What a link means is in `links`; the site has a page for each file that is named.
"""

from __future__ import annotations

import html
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docutils import nodes
from links import PICTURES, ROOT, BrokenLinkError, anchors, links, target
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

DOCS = ROOT / "docs"
GALLERY = ROOT / "examples" / "gallery"
SCHEME = "repository"
FIGURE = re.compile(r"^\[Figure: ([^\]]*)\]\((?:\.\./)+examples/gallery/(\w+)\.py\)$", re.MULTILINE)
LANGUAGES = {
    ".py": "python",
    ".toml": "toml",
    ".cfg": "ini",
    ".sh": "bash",
    ".json": "json",
    ".bib": "bibtex",
}
# files that are read as pages of text: a page of this folder shows each
TEXTS = {
    "README.md": "repository/readme",
    "CONTRIBUTING.md": "repository/contributing",
    "CHANGELOG.md": "repository/changelog",
    "benchmarks/README.md": "repository/benchmarks",
    "validation/README.md": "repository/validation",
}

logger = logging.getLogger(__name__)


@dataclass
class Links:
    """What links lead to: names of pages of the site, and the files that need one."""

    named: set[Path] = field(default_factory=set)

    def rewritten(self, text: str, page: Path) -> str:
        """A page, its links out of `docs` as addresses of the scheme that `resolve` knows."""
        for link in set(links(text)):
            try:
                path, anchor = target(link, page)
            except BrokenLinkError as broken:
                logger.warning(str(broken), location=str(page), type="repository")
                continue
            where = path.relative_to(ROOT).as_posix()
            suffix = f"#{anchor}" if anchor else ""
            if path == GALLERY:
                text = text.replace(f"]({link})", "](/gallery/index.rst)")
            elif path.parent == GALLERY and path.suffix == ".py":
                text = text.replace(f"]({link})", f"](/gallery/{path.stem}.rst)")
            elif where in TEXTS:
                text = text.replace(f"]({link})", f"](/{TEXTS[where]}.md{suffix})")
            elif path.is_relative_to(DOCS) and path.suffix == ".md":
                text = text.replace(f"]({link})", f"](/{path.relative_to(DOCS).as_posix()}{suffix})")
            else:
                text = text.replace(f"]({link})", f"]({SCHEME}:{where}{suffix})")
        return text

    def page(self, path: Path) -> str:
        """The name of the page of a file or folder, which will be made."""
        self.named.add(path)
        return self.page_name(path)

    @staticmethod
    def page_name(path: Path) -> str:
        """The name that the page of a file or folder has."""
        return f"_files/{path.relative_to(ROOT).as_posix()}"


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(docname))
    if page.suffix != ".md":
        return
    for where, name in TEXTS.items():
        if name == docname:
            page = ROOT / where
            source[0] = page.read_text("utf-8")
            app.env.note_dependency(str(page))
    shown = FIGURE.sub(r"[![\1](/gallery/images/sphx_glr_\2_001.png)](/gallery/\2.rst)", source[0])
    source[0] = _links(app).rewritten(_pictured(shown, page), page)


def _pictured(text: str, page: Path) -> str:
    """A page shown elsewhere than where it lies: its pictures by their path from the folder of the site."""
    if page.is_relative_to(DOCS):
        return text
    there = page.parent.relative_to(ROOT)
    return re.sub(r"(!\[[^\]]*\]\()(?!https?:)([^)]+\))", rf"\1/../{there.as_posix()}/\2", text)


def _links(app: Sphinx) -> Links:
    return app.repository_links  # type: ignore[attr-defined,no-any-return]


def _resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make relative addresses of what `Links.rewritten` marked, and link documented names to their source."""
    for node in doctree.findall(nodes.reference):
        uri = node.get("refuri", "")
        if uri.startswith(f"{SCHEME}:"):
            where, _, anchor = uri.removeprefix(f"{SCHEME}:").partition("#")
            node["refuri"] = _address(app, docname, ROOT / where, anchor)
            node["internal"] = True
    for signature in doctree.findall(addnodes.desc_signature):
        place = _place(signature.get("module"), signature.get("fullname"))
        if place:
            uri = _address(app, docname, *place)
            shown = nodes.inline("", "[source]", classes=["viewcode-link"])
            signature += nodes.reference("", "", shown, refuri=uri, internal=True)


def _named(app: Sphinx, env: BuildEnvironment, node: Any, shown: nodes.Node) -> nodes.reference | None:
    """A link to a name of the package itself, which docstrings call without the package."""
    name = node.get("reftarget", "").removeprefix("~").removeprefix("si.")
    place = env.domains["py"].objects.get(f"spectral_icl.{name}")  # type: ignore[attr-defined]
    if place is None:
        return None
    return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, shown)


def _address(app: Sphinx, docname: str, path: Path, anchor: str) -> str:
    address = app.builder.get_relative_uri(docname, _links(app).page(path))
    return f"{address}#{anchor}" if anchor else address


def _place(module: str | None, name: str | None) -> tuple[Path, str] | None:
    """The file in which a documented name is defined, and its anchor there."""
    if not module or not name:
        return None
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = (
            inspect.getattr_static(value, part, None)
            if inspect.isclass(value)
            else getattr(value, part, None)
        )
    value = getattr(value, "fget", None) or getattr(value, "func", None) or getattr(value, "py_func", value)
    value = getattr(value, "__func__", value)
    home, qualified = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not isinstance(home, str) or not home.startswith("spectral_icl"):
        return None
    path = Path(inspect.getsourcefile(importlib.import_module(home)) or "")
    return (path, qualified) if qualified in anchors(path) else None


def _pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for every file that was named, and a list for every folder."""
    known = _links(app)
    for path in sorted(known.named):
        name = known.page_name(path)
        body = _listing(app, name, path) if path.is_dir() else _content(app, path)
        where = path.relative_to(ROOT).as_posix()
        # without the tree of all pages, which would take longer than the rest of it
        made = {"title": where, "body": f"<h1>{where}</h1>\n{body}", "toctree": lambda **_: ""}
        yield name, made, "page.html"


def _listing(app: Sphinx, name: str, folder: Path) -> str:
    """The files of a folder, with links to those that have a page."""
    entries = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")) or path.suffix in {*PICTURES, ".pyc"}:
            continue
        address = app.builder.get_relative_uri(name, _links(app).page_name(path))
        shown = f'<a href="{address}">{path.name}</a>' if path in _links(app).named else path.name
        entries.append(f"<li>{shown}{'/' if path.is_dir() else ''}</li>")
    return f"<ul>{''.join(entries)}</ul>"


def _content(app: Sphinx, path: Path) -> str:
    """The text of a file with its anchors; what is no text is named only."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return "<p>A binary file.</p>"
    language = LANGUAGES.get(path.suffix, "text")
    shown = app.builder.highlighter.highlight_block(text, language)  # type: ignore[attr-defined]
    before, opened, inner = shown.partition("<pre>")
    lines = inner.split("\n")
    if not opened or path.suffix != ".py":
        return str(shown)
    start = len(text) - len(text.lstrip("\n"))
    for anchor, line in anchors(path).items():
        k = line - 1 - start
        lines[k] = f'<span id="{html.escape(anchor)}"></span>{lines[k]}'
    return before + opened + "\n".join(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what is above with Sphinx."""
    app.repository_links = Links()  # type: ignore[attr-defined]
    app.connect("source-read", _read, priority=100)
    app.connect("doctree-resolved", _resolve)
    app.connect("missing-reference", _named)
    app.connect("html-collect-pages", _pages)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": False}
