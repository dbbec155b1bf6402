"""A page of HTML as it is read: its tags, links, pictures and words."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags that are open, and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if tag == "img":
            self.pictures.append(named["src"] or "")
            assert named["alt"]
        if tag not in {"img", "meta", "br"}:
            self.open.append(tag)
        self.links += [value or "" for key, value in attributes if key in {"href", "src"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
