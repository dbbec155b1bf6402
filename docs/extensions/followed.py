"""Follow every link inside a built site, offline: python docs/extensions/followed.py docs/_build/html."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag leads to, and what it can be reached by."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


@cache
def read(path: Path) -> Page:
    """A page, read once."""
    return Page(path.read_text("utf-8"))


def broken(site: Path) -> Iterator[str]:
    """A line for every link of a page to a file or anchor that is not there, or that leaves the site."""
    for path in sorted(site.rglob("*.html")):
        for link in dict.fromkeys(read(path).links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            where = path.relative_to(site)
            if not target.is_file() or not target.is_relative_to(site):
                yield f"{where}: {link}: no such page"
            elif parts.fragment and target.suffix == ".html" and not _reached(target, parts.fragment):
                yield f"{where}: {link}: no such anchor"


def _reached(page: Path, fragment: str) -> bool:
    """Whether a page has an anchor of that name."""
    return unquote(fragment) in read(page).anchors


def main(site: Path) -> int:
    """Print what is broken; the status is 1 if anything is."""
    if not (site / "index.html").is_file():
        print(f"SITE: expected a folder with index.html, got {site}", file=sys.stderr)
        return 2
    found = list(broken(site))
    print(
        "\n".join(found)
        or f"{sum(1 for _ in site.rglob('*.html'))} pages, every link inside them leads somewhere"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
